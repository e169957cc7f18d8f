//! Whose route a request takes when several services could have it.
//!
//! A service claims each of its hosts with its path. Of the claims that match a
//! request the most specific one has it: an exact host before a wildcard, then
//! an exact path before a pattern, then the longer path. Caddy takes the first
//! route that matches, so routes stand in that order. No order of whole
//! services is right for every table (`shop.example/` beside
//! `*.shop.example/api/*` of a service that also has `shop.example/api/*`),
//! so where a route stands before a more specific claim of a later one, its
//! matcher leaves that claim out.

use std::cmp::Reverse;

use crate::domain::{RouteState, RouteTable, ServiceName};

/// A service's route and the requests it must leave to later routes.
#[derive(Debug)]
pub struct Ordered<'a> {
    pub service: &'a ServiceName,
    pub state: &'a RouteState,
    /// The hosts in the file's order, in runs that have the same exceptions.
    pub runs: Vec<Run<'a>>,
}

/// Hosts of one service that leave out the same claims.
#[derive(Debug, PartialEq, Eq)]
pub struct Run<'a> {
    pub hosts: Vec<&'a str>,
    pub except: Vec<Claim<'a>>,
}

/// One host of a service, with its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    pub host: &'a str,
    pub path: &'a str,
}

/// Returns the services in the order in which their routes are to stand.
pub fn order(table: &RouteTable) -> Vec<Ordered<'_>> {
    let mut services: Vec<_> = table.iter().collect();
    // One that asks for a header besides stands before all that do not.
    services.sort_by_key(|(name, state)| {
        (state.route.preview.is_none(), claims(state).map(Claim::rank).min(), *name)
    });
    (0..services.len())
        .map(|at| {
            let (service, state) = services[at];
            let later = &services[at + 1..];
            Ordered { service, state, runs: runs(state, later) }
        })
        .collect()
}

fn runs<'a>(state: &'a RouteState, later: &[(&'a ServiceName, &'a RouteState)]) -> Vec<Run<'a>> {
    let mut runs: Vec<Run<'a>> = Vec::new();
    for claim in claims(state) {
        let except: Vec<Claim<'a>> = later
            .iter()
            .flat_map(|(_, other)| claims(other))
            .filter(|other| other.rank() < claim.rank() && hosts_meet(claim.host, other.host))
            .collect();
        match runs.last_mut() {
            Some(run) if run.except == except => run.hosts.push(claim.host),
            Some(_) | None => runs.push(Run { hosts: vec![claim.host], except }),
        }
    }
    if runs.is_empty() {
        // Of no host: it stands there for us to read, and no request ever matches.
        runs.push(Run { hosts: Vec::new(), except: Vec::new() });
    }
    runs
}

fn claims(state: &RouteState) -> impl Iterator<Item = Claim<'_>> {
    let path = state.route.path.as_str();
    state.route.hosts.iter().map(move |host| Claim { host, path })
}

/// Less is more specific.
type Rank = (usize, bool, Reverse<usize>);

impl Claim<'_> {
    fn rank(self) -> Rank {
        let wildcards = self.host.split('.').filter(|label| *label == "*").count();
        (wildcards, self.path.contains('*'), Reverse(self.path.len()))
    }
}

/// Returns whether some host name could match both patterns.
fn hosts_meet(one: &str, other: &str) -> bool {
    one.split('.').count() == other.split('.').count()
        && one.split('.').zip(other.split('.')).all(|(a, b)| a == b || a == "*" || b == "*")
}
