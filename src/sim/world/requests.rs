//! Requests that go on after their route has moved, and how Caddy counts them.
//!
//! While a route names a replica, requests come and go all the time; what
//! matters is those that were sent the old way and have not ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use crate::{
    domain::{
        ContainerId,
        snapshot::{InFlight, Unlisted},
    },
    sim::prng,
};

use super::{
    World,
    caddy::{Caddy, Kind},
    container::State,
    docker::Docker,
};

/// How long a request may go on after the route has left it, in milliseconds.
const SPANS: [i64; 6] = [0, 0, 400, 2_500, 12_000, 40_000];

/// How late a request that was sent the old way may be counted, in milliseconds.
const LATE: u64 = 60;

#[derive(Clone, Debug)]
struct Request {
    to: ContainerId,
    dial: SocketAddr,
    /// When the route moved, when it is counted, and when it ends.
    left_at: i64,
    counted_at: i64,
    ends_at: i64,
    /// How often the configuration had dropped its address before.
    age: u64,
}

#[derive(Clone, Debug)]
pub struct Requests {
    seed: u64,
    open: Vec<Request>,
    /// How often the configuration has dropped an address.
    drops: BTreeMap<SocketAddr, u64>,
}

impl Requests {
    pub fn new(seed: u64) -> Requests {
        Requests { seed, open: Vec::new(), drops: BTreeMap::new() }
    }

    /// Leaves some requests behind on a replica that the route names no more.
    fn leave_behind(&mut self, to: &ContainerId, dial: SocketAddr, now: i64) {
        let drops = self.drops.get(&dial).copied().unwrap_or_default();
        for nth in 0..2 {
            let index = u64::try_from(now).unwrap_or_default() * 2 + nth;
            let octet = match dial.ip() {
                std::net::IpAddr::V4(ip) => u64::from(ip.to_bits()),
                std::net::IpAddr::V6(_) => 0,
            };
            let draw = prng::hash(self.seed ^ octet, index, 6);
            let span = SPANS[usize::try_from(draw % 6).expect("less than six")];
            let late = i64::try_from(draw / 6 % LATE).expect("less than a minute");
            let counted_at = now + late;
            let request = Request {
                to: to.clone(),
                dial,
                left_at: now,
                counted_at,
                ends_at: counted_at + span,
                age: drops,
            };
            if span > 0 {
                self.open.push(request);
            }
        }
    }

    /// Returns how many requests have been sent to a container and not ended,
    /// counted or not.
    pub fn unfinished(&self, docker: &Docker, id: &ContainerId, now: i64) -> usize {
        self.live(docker, now).filter(|request| request.to == *id).count()
    }

    /// Returns how many of them were sent the old way less than `drain` ago.
    pub fn undrained(&self, docker: &Docker, id: &ContainerId, now: i64, drain: i64) -> usize {
        let of_late = |request: &&Request| request.to == *id && now - request.left_at < drain;
        self.live(docker, now).filter(of_late).count()
    }

    fn live<'r>(&'r self, docker: &'r Docker, now: i64) -> impl Iterator<Item = &'r Request> {
        self.open.iter().filter(move |request| {
            let runs_on = docker.get(&request.to).is_some_and(|container| match container.state {
                // One that was started anew has lost them.
                State::Running { since } => since <= request.left_at,
                State::Created | State::Restarting { .. } | State::Exited { .. } => false,
            });
            runs_on && request.ends_at > now
        })
    }

    fn count(
        &self,
        docker: &Docker,
        named: &BTreeSet<SocketAddr>,
        now: i64,
    ) -> BTreeMap<SocketAddr, u64> {
        let mut counts: BTreeMap<SocketAddr, u64> = named.iter().map(|dial| (*dial, 0)).collect();
        for request in self.live(docker, now).filter(|request| request.counted_at <= now) {
            let drops = self.drops.get(&request.dial).copied().unwrap_or_default();
            // An address that came back is counted from nothing.
            if !named.contains(&request.dial) || drops == request.age {
                *counts.entry(request.dial).or_default() += 1;
            }
        }
        counts
    }
}

impl Caddy {
    /// Returns what this Caddy tells of the requests in flight.
    pub fn in_flight(&self, docker: &Docker, now: i64) -> InFlight {
        let named = self.named();
        let mut listed = self.requests.count(docker, &named, now);
        match self.kind {
            Kind::AdminApi | Kind::SwitchFile => InFlight { listed, unlisted: Unlisted::Idle },
            Kind::OldSwitchFile => {
                listed.retain(|dial, _| named.contains(dial));
                InFlight { listed, unlisted: Unlisted::Unknown }
            }
            Kind::OldAdminApi => InFlight::default(),
        }
    }
}

impl World {
    /// Changes the routes, whoever does it, and leaves requests behind where
    /// they were.
    pub fn reroute<R>(&mut self, change: impl FnOnce(&mut Caddy) -> R) -> R {
        let (routed, named) = (self.caddy.routed(), self.caddy.named());
        let result = change(&mut self.caddy);
        let (still_routed, still_named) = (self.caddy.routed(), self.caddy.named());
        for container in self.docker.all() {
            let Some(listed) = container.listed(self.now) else { continue };
            for dial in listed.dials() {
                if routed.contains(&dial) && !still_routed.contains(&dial) {
                    self.caddy.requests.leave_behind(&container.id, dial, self.now);
                }
            }
        }
        for dial in named.difference(&still_named) {
            *self.caddy.requests.drops.entry(*dial).or_default() += 1;
        }
        result
    }
}
