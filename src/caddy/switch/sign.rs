//! The names of switch files, and the order in which Caddy looks for them.

use crate::domain::ServiceName;

use crate::caddy::lane::{Lane, Sign, Standby};

/// What the name of a file has when its other lane catches.
const CATCHES: &str = "+standby";

impl Sign {
    /// The order in which Caddy's matchers look: of several files the first
    /// decides.
    pub const LOOKED_FOR: [Sign; 4] = [
        Sign { lane: Lane::Two, standby: Standby::Catches },
        Sign { lane: Lane::Two, standby: Standby::Rests },
        Sign { lane: Lane::One, standby: Standby::Rests },
        Sign::WITHOUT_A_FILE,
    ];

    /// What Caddy does where it finds no file. The second lane catches, so that
    /// a folder that was lost while it answered costs no request as long as
    /// nothing listens in the first.
    pub const WITHOUT_A_FILE: Sign = Sign { lane: Lane::One, standby: Standby::Catches };

    /// Returns the name of the service's switch file that says this: `web.1`,
    /// `web.2+standby`. No character in it means anything to Caddy.
    pub fn file_name(self, service: &ServiceName) -> String {
        let standby = match self.standby {
            Standby::Catches => CATCHES,
            Standby::Rests => "",
        };
        format!("{service}.{}{standby}", self.lane.as_str())
    }

    /// Returns what a file's name says; None for a file that is no switch file.
    pub fn of_file_name(name: &str) -> Option<(ServiceName, Sign)> {
        // A service's name has no dot.
        let (service, _) = name.split_once('.')?;
        let service: ServiceName = service.parse().ok()?;
        let sign = Sign::LOOKED_FOR.into_iter().find(|sign| sign.file_name(&service) == name)?;
        Some((service, sign))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_it_was_made_of_and_others_say_nothing() {
        let service: ServiceName = "web-2".parse().unwrap();
        for sign in Sign::LOOKED_FOR {
            let name = sign.file_name(&service);
            assert_eq!(Sign::of_file_name(&name), Some((service.clone(), sign)));
        }
        for name in ["sight", "web.new", "web.1.bak", "web.1+", "web.3", "Web.1", ".1", "web", ""] {
            assert_eq!(Sign::of_file_name(name), None, "{name}");
        }
    }
}
