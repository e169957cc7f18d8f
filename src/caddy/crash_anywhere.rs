//! A change of the lanes, stopped at each of its steps: what Caddy does with a
//! request then, what a look says, and that the next try gets there all the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use proptest::{collection, prelude::*};

use crate::domain::{Backend, RouteState, ServiceName, Slot};

use super::{
    lane::{self, Dials, Lane, Lanes, Sign, Standby},
    switch::{
        course,
        flip::{FileStep, Show},
        folder::{Entry, Found},
    },
};

/// More rounds than any change needs.
const MAX_ROUNDS: usize = 3;

/// Caddy's configuration and the files, as far as one service sees them.
#[derive(Clone, Debug, Default)]
struct World {
    dials: Dials,
    files: BTreeMap<String, Vec<u8>>,
}

/// What happens at once or not at all.
#[derive(Clone, Debug)]
enum Instant {
    File(FileStep),
    Config(Dials),
}

fn service() -> ServiceName {
    "web".parse().unwrap()
}

impl World {
    fn found(&self) -> Found {
        let files = self.files.iter();
        Found::of(true, files.map(|(name, bytes)| (name.clone(), Entry::File(bytes.clone()))))
    }

    fn lanes(&self) -> Lanes {
        let (sign, tenants) = self.found().shown(&service()).unzip();
        let tenants = tenants.flatten().unwrap_or_default();
        Lanes { dials: self.dials.clone(), tenants, sign }
    }

    /// The lane that gets a request, and whether the other one catches, as the
    /// routes in Caddy have it.
    fn answers(&self) -> (Lane, Standby) {
        let is_there = |sign: &Sign| self.files.contains_key(&sign.file_name(&service()));
        let single = |lane| (lane, Standby::Rests);
        match (self.dials.one.is_empty(), self.dials.two.is_empty()) {
            (_, true) => single(Lane::One),
            (true, false) => single(Lane::Two),
            (false, false) => {
                let sign = Sign::LOOKED_FOR.into_iter().find(is_there);
                let sign = sign.unwrap_or(Sign::WITHOUT_A_FILE);
                (sign.lane, sign.standby)
            }
        }
    }

    fn active(&self) -> BTreeSet<SocketAddr> {
        self.dials.get(self.answers().0).clone()
    }

    fn standby(&self) -> Option<BTreeSet<SocketAddr>> {
        let (lane, standby) = self.answers();
        (standby == Standby::Catches).then(|| self.dials.get(lane.other()).clone())
    }

    /// What a look says: who answers, and who catches.
    fn told(&self) -> Option<(Backend, Option<Backend>)> {
        let lanes = self.lanes();
        let Sign { lane, standby } = lanes.answering()?;
        let catches = match standby {
            Standby::Catches => lanes.backend(lane.other()),
            Standby::Rests => None,
        };
        Some((lanes.backend(lane)?, catches))
    }

    fn pass(&mut self, instant: Instant) {
        match instant {
            Instant::Config(dials) => self.dials = dials,
            Instant::File(FileStep::Put { name, bytes }) => {
                self.files.insert(name, bytes);
            }
            Instant::File(FileStep::Remove { name }) => {
                self.files.remove(&name);
            }
        }
    }

    /// Everything that one round does, and whether another follows.
    fn round(&self, state: &RouteState) -> (Vec<Instant>, bool) {
        let named = state.dials().copied().collect();
        let standing = self.lanes();
        let wanted = lane::settled(state, &standing, &named);
        let follows = lane::settled(state, &wanted, &named) != wanted;
        let of = |lanes: &Lanes| BTreeMap::from([(service(), lanes.clone())]);
        let course = course::plot(&of(&standing), &of(&wanted), &self.found());
        let files = |shows: &[Show]| {
            shows.iter().flat_map(Show::steps).map(Instant::File).collect::<Vec<_>>()
        };
        let mut instants = files(&course.before);
        if wanted.dials != self.dials {
            instants.push(Instant::Config(wanted.dials.clone()));
        }
        instants.extend(files(&course.after));
        (instants, follows)
    }

    /// Returns every world on the way to the state, this one first.
    fn way_to(&self, state: &RouteState) -> Vec<World> {
        let mut way = vec![self.clone()];
        for _ in 0..MAX_ROUNDS {
            let (instants, follows) = way.last().unwrap().round(state);
            for instant in instants {
                let mut next = way.last().unwrap().clone();
                next.pass(instant);
                way.push(next);
            }
            if !follows {
                return way;
            }
        }
        panic!("{state:?} takes more than {MAX_ROUNDS} rounds");
    }
}

/// One of few, so that releases come back and meet.
fn a_backend() -> impl Strategy<Value = Backend> {
    let dials = collection::btree_set(1..5_u8, 1..3);
    (prop::sample::select(Slot::BOTH.to_vec()), 0..3_u8, dials).prop_map(
        |(slot, release, dials)| Backend {
            slot,
            release: format!("{release:012x}").try_into().unwrap(),
            dials: dials.into_iter().map(|host| ([10, 0, 0, host], 80).into()).collect(),
        },
    )
}

fn a_state() -> impl Strategy<Value = RouteState> {
    (a_backend(), proptest::option::of(a_backend())).prop_map(|(backend, standby)| {
        // An address is one container's, and a container is one release's.
        let standby = standby.filter(|standby| {
            standby.dials.is_disjoint(&backend.dials)
                && (standby.slot, &standby.release) != (backend.slot, &backend.release)
        });
        let route =
            crate::domain::Route { hosts: vec![], path: "/*".to_owned(), port: 80, preview: None };
        let stream_close_delay = std::time::Duration::ZERO;
        RouteState { route, backend, standby, stream_close_delay, inside: None }
    })
}

fn wanted(state: &RouteState) -> (Backend, Option<Backend>) {
    (state.backend.clone(), state.standby.clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_request_goes_to_the_old_release_and_then_to_the_new_one(
        states in collection::vec(a_state(), 1..6),
    ) {
        let mut world = World::default();
        let mut before: Option<RouteState> = None;
        for state in states {
            let way = world.way_to(&state);
            if let Some(old) = &before {
                let mut moved = false;
                for at in &way {
                    moved |= at.active() != old.backend.dials;
                    let right = if moved { &state.backend.dials } else { &old.backend.dials };
                    prop_assert_eq!(&at.active(), right);
                    if let Some(catches) = at.standby() {
                        let may = [&old.backend, &state.backend].into_iter().chain(&old.standby).chain(&state.standby);
                        prop_assert!(may.clone().any(|it| it.dials == catches), "{:?}", catches);
                    }
                }
            }
            world = way.last().unwrap().clone();
            prop_assert_eq!(world.told(), Some(wanted(&state)));
            prop_assert_eq!(world.files.len(), 1);
            prop_assert!(world.round(&state).0.is_empty(), "a second time changes something");
            before = Some(state);
        }
    }

    #[test]
    fn a_crash_anywhere_is_told_as_it_is_and_the_next_try_gets_there(
        first in a_state(), second in a_state(), third in a_state(),
    ) {
        let stood = World::default().way_to(&first).pop().unwrap();
        for crashed in stood.way_to(&second) {
            // Who answers is never told wrong: it is the one at these addresses.
            let told = crashed.told();
            let (backend, _) = told.expect("who answers can be told at each instant");
            prop_assert!([&first.backend, &second.backend].contains(&&backend), "{:?}", backend);
            prop_assert_eq!(&backend.dials, &crashed.active());
            for next in [&second, &third, &first] {
                let way = crashed.way_to(next);
                prop_assert_eq!(way.last().unwrap().told(), Some(wanted(next)));
            }
        }
    }

    #[test]
    fn a_release_at_the_addresses_of_its_lane_leaves_the_configuration_as_it_is(
        first in a_state(), second in a_state(), names in collection::vec("[0-9a-f]{12}", 1..5),
    ) {
        let mut states = [first, second];
        states.iter_mut().for_each(|state| state.standby = None);
        states[1].backend.slot = states[0].backend.slot.other();
        states[1].backend.dials = [([10, 0, 1, 1], 80).into()].into();
        let mut world = World::default().way_to(&states[0]).pop().unwrap();
        world = world.way_to(&states[1]).pop().unwrap();
        let configured = world.dials.clone();
        for (turn, name) in names.into_iter().enumerate() {
            let state = &mut states[turn % 2];
            state.backend.release = name.try_into().unwrap();
            for at in world.way_to(state) {
                prop_assert_eq!(&at.dials, &configured);
            }
            world = world.way_to(state).pop().unwrap();
            prop_assert_eq!(world.active(), state.backend.dials.clone());
        }
    }

    #[test]
    fn any_files_at_all_are_put_right(
        first in a_state(), second in a_state(),
        damage in collection::btree_map(prop::sample::select(Sign::LOOKED_FOR.to_vec()), prop::sample::select(vec!["", "x", "{\"1\":null,\"2\":null}\n"]), 0..4),
    ) {
        let mut world = World::default().way_to(&first).pop().unwrap();
        world = world.way_to(&second).pop().unwrap();
        let right = world.files.clone();
        world.files = damage
            .into_iter()
            .map(|(sign, bytes)| (sign.file_name(&service()), bytes.as_bytes().to_vec()))
            .collect();
        prop_assert!(world.round(&second).0.len() > usize::from(world.files == right));
        let repaired = world.way_to(&second).pop().unwrap();
        prop_assert_eq!(repaired.told(), Some(wanted(&second)));
        prop_assert_eq!(repaired.files.len(), 1);
    }
}
