//! One flip: what happens to the files of a service, in this order.
//!
//! The new file is put there before any other is taken away, so that at each
//! instant there is one. Where the new name is looked for before the old one,
//! the first step is the flip; else it is the one that takes the old one away.

use crate::{
    caddy::lane::{Sign, Tenants},
    domain::ServiceName,
};

use super::content;

/// What a service's switch file is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Show {
    pub service: ServiceName,
    pub sign: Sign,
    pub tenants: Tenants,
}

/// One step, which happens at once or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileStep {
    /// A file of this name is there, with these bytes.
    Put { name: String, bytes: Vec<u8> },
    /// Nothing of this name is there.
    Remove { name: String },
}

impl Show {
    pub fn steps(&self) -> Vec<FileStep> {
        let put = FileStep::Put {
            name: self.sign.file_name(&self.service),
            bytes: content::bytes(&self.tenants),
        };
        let others = Sign::LOOKED_FOR.into_iter().filter(|sign| *sign != self.sign);
        let removals = others.map(|sign| FileStep::Remove { name: sign.file_name(&self.service) });
        [put].into_iter().chain(removals).collect()
    }
}
