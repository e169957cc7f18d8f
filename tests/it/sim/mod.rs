//! The simulator's runs: seeds, crashes at every call, mutants.

mod crashes;
mod mutants;
mod seeds;
