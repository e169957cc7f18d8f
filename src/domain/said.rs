//! What a container said last.

/// One line of a container's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaidLine {
    pub text: String,
    pub begins: Edge,
    pub ends: Edge,
}

/// Whether more of a line may have stood beyond its beginning or end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    Whole,
    /// What stands there may be a part of something.
    Cut,
}

impl SaidLine {
    /// Returns a line of which nothing is missing.
    pub fn whole(text: impl Into<String>) -> SaidLine {
        SaidLine { text: text.into(), begins: Edge::Whole, ends: Edge::Whole }
    }
}
