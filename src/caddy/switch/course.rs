//! What is written to the switch files before and after Caddy's configuration.
//!
//! Pure. A flip never comes before the addresses that it flips to, nor after the
//! ones that it flips from are gone; and in between, the files never say of a
//! release that it catches where another one does.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    caddy::lane::{Lanes, Sign, Standby},
    domain::ServiceName,
};

use super::{flip::Show, folder::Found};

/// The changes of the switch files that go with one change of the lanes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// Before the configuration is written.
    pub before: Vec<Show>,
    /// Once it stands.
    pub after: Vec<Show>,
    /// The services whose files go then.
    pub gone: BTreeSet<ServiceName>,
}

impl Course {
    pub fn is_empty(&self) -> bool {
        *self == Course::default()
    }
}

/// Returns how the switch files get from what was `found` to what the lanes are
/// to be.
pub fn plot(
    standing: &BTreeMap<ServiceName, Lanes>,
    wanted: &BTreeMap<ServiceName, Lanes>,
    found: &Found,
) -> Course {
    let mut course = Course::default();
    for (service, lanes) in wanted {
        let show = |lanes: &Lanes| {
            let (sign, tenants) = (lanes.sign?, lanes.tenants.clone());
            Some(Show { service: service.clone(), sign, tenants })
        };
        let Some(last) = show(lanes) else { continue };
        let from = standing.get(service).filter(|lanes| lanes.are_configured());
        // Nothing looks for the file yet: it must be right before anything does.
        let Some(from) = from else {
            if !found.shows(&last) {
                course.before.push(last);
            }
            continue;
        };
        let first = held(from, lanes).and_then(|held| show(&held));
        if first.is_some() || !found.shows(&last) {
            course.after.push(last);
        }
        course.before.extend(first);
    }
    let gone = found.services().filter(|service| !wanted.contains_key(*service));
    course.gone = gone.cloned().collect();
    course
}

/// Returns how the file must stand while the configuration changes, if not as it
/// does: it holds on to the lane that answers, and nobody catches whose lane
/// goes to another release.
fn held(from: &Lanes, to: &Lanes) -> Option<Lanes> {
    let Sign { lane, standby } = from.answering()?;
    if from.dials == to.dials {
        return None;
    }
    let other = lane.other();
    let mut held = from.clone();
    held.sign = Some(Sign { lane, standby });
    let stays = from.dials.get(other) == to.dials.get(other)
        || (to.sign == held.sign && to.tenants.get(other) == from.tenants.get(other));
    if standby == Standby::Catches && !stays {
        held.sign = Some(Sign { lane, standby: Standby::Rests });
        held.tenants.set(other, None);
    }
    (held != *from).then_some(held)
}
