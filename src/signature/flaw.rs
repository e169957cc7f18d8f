//! Why something that the registry has is not the signature that is wanted.

use std::fmt;

/// One signature that was found, and does not count. The later one says more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flaw {
    /// It is signed, and says something else than that the image is: an attestation.
    OtherStatement,
    /// It cannot be read, or is not what its digest says.
    Damaged,
    /// None of the keys has signed it.
    OtherKey,
    /// One of the keys has, and it is about another image.
    OtherImage,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flaw::OtherStatement => "what is there attests something else",
            Flaw::Damaged => "what is there cannot be read",
            Flaw::OtherKey => "what is there is signed by another key, or was changed since",
            Flaw::OtherImage => "the signature that is there is another image's",
        })
    }
}
