//! A request that looks for the file while a flip is on its way.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::Value;

use crate::{
    caddy::{
        dialect::Streams,
        forward::Manner,
        lane::{Dials, Lane, Sign, Tenants},
        render,
    },
    domain::ServiceName,
};

use super::flip::{FileStep, Show};

/// What Caddy looks for, one after the other, and the lane of the route.
fn looks(service: &ServiceName) -> (Vec<(String, Lane)>, Lane) {
    let [one, two] = [9001, 9002].map(|port| BTreeSet::from([([10, 0, 0, 2], port).into()]));
    let dials = Dials { one: one.clone(), two };
    let manner = Manner { streams: Streams::AreCut, stream_close_delay: Default::default() };
    let stack = "shop".parse().unwrap();
    let switch = render::switch(&stack, service, Path::new("/switch"), &dials, manner);
    let lane_of = |route: &Value| {
        let dial = route["handle"][0]["upstreams"][0]["dial"].as_str().unwrap().parse().unwrap();
        if one.contains(&dial) { Lane::One } else { Lane::Two }
    };
    let routes = switch["routes"].as_array().unwrap();
    let mut looks = Vec::new();
    for route in routes {
        for matcher in route["match"].as_array().into_iter().flatten() {
            let name = matcher["file"]["try_files"][0].as_str().unwrap().to_owned();
            looks.push((name, lane_of(route)));
        }
    }
    (looks, lane_of(routes.last().unwrap()))
}

/// The lane of a request whose looks find what `there` says at each of them.
fn lane_found(service: &ServiceName, there: impl Fn(usize, &str) -> bool) -> Lane {
    let (looks, otherwise) = looks(service);
    let mut found = looks.iter().enumerate().filter(|(look, (name, _))| there(*look, name));
    found.next().map_or(otherwise, |(_, (_, lane))| *lane)
}

#[test]
fn a_request_finds_the_old_lane_or_the_new_one_however_a_flip_overtakes_it() {
    let service: ServiceName = "web".parse().unwrap();
    let looks = looks(&service).0.len();
    let mut ways = 0;
    for (old, new) in pairs() {
        let show = Show { service: service.clone(), sign: new, tenants: Tenants::default() };
        let steps = show.steps();
        // Which look each step comes before: any that do not go back in time.
        for times in times(steps.len(), looks) {
            let lane = lane_found(&service, |look, name| {
                let mut files = BTreeMap::from([(old.file_name(&service), ())]);
                for (step, time) in steps.iter().zip(&times) {
                    if *time <= look {
                        match step {
                            FileStep::Put { name, .. } => drop(files.insert(name.clone(), ())),
                            FileStep::Remove { name } => drop(files.remove(name)),
                        }
                    }
                }
                files.contains_key(name)
            });
            assert!([old.lane, new.lane].contains(&lane), "{old:?} → {new:?} at {times:?}");
            ways += 1;
        }
    }
    assert!(ways > 1_000, "{ways}");
}

#[test]
fn a_request_after_a_flip_finds_what_the_file_says() {
    let service: ServiceName = "web".parse().unwrap();
    for sign in Sign::LOOKED_FOR {
        let lane = lane_found(&service, |_, name| name == sign.file_name(&service));
        assert_eq!(lane, sign.lane);
    }
    assert_eq!(lane_found(&service, |_, _| false), Sign::WITHOUT_A_FILE.lane);
}

fn pairs() -> impl Iterator<Item = (Sign, Sign)> {
    let signs = Sign::LOOKED_FOR;
    signs.into_iter().flat_map(move |old| signs.into_iter().map(move |new| (old, new)))
}

/// Every rising list of so many numbers up to `end`.
fn times(count: usize, end: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for _ in 0..count {
        all = all
            .into_iter()
            .flat_map(|times| {
                let first = times.last().copied().unwrap_or(0);
                (first..=end).map(move |time| [&times[..], &[time]].concat())
            })
            .collect();
    }
    all
}
