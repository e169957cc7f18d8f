//! Gates: checks that must pass before a release is promoted, or keep passing
//! after it was.

use std::{cmp::Ordering, collections::BTreeMap, fmt, net::IpAddr, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ContainerId, Fingerprint, ImageRef, ReleaseId, Secret, ServiceName};

/// One gate, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    pub check: GateCheck,
    /// The time between two measurements. A job is run once, and not measured.
    pub interval: Duration,
    /// How long one measurement may take; of a job, how long it may run.
    pub timeout: Duration,
    /// How many measurements may fail.
    pub failure_limit: u32,
}

/// What a gate looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateCheck {
    /// A container that runs once and ends with exit code 0.
    Job(JobSpec),
    /// A command in the release's first replica ends with exit code 0.
    Exec {
        command: Vec<String>,
    },
    Http(HttpCheck),
    /// Every sample that the query returns meets the condition.
    Prometheus {
        url: Secret,
        query: String,
        condition: Condition,
    },
}

/// A container like a replica of the release, without its ports, that runs once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// None runs the image's own command.
    pub command: Option<Vec<String>>,
    /// None runs the release's own image.
    pub image: Option<ImageRef>,
    /// Beside the service's environment, over which it wins.
    pub environment: BTreeMap<String, Secret>,
}

/// A request, and what its answer must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCheck {
    pub target: HttpTarget,
    pub headers: BTreeMap<String, Secret>,
    /// Exactly this status; None takes any 2xx.
    pub status: Option<u16>,
    pub json: Option<JsonCheck>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpTarget {
    /// `http://` or `https://`; it may hold credentials.
    Url(Secret),
    /// The release's first replica.
    Replica { path: String, port: u16 },
}

/// A value in a JSON answer, by its JSON pointer (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonCheck {
    pub pointer: String,
    /// None is content with any value but `null`.
    pub condition: Option<Condition>,
}

/// `>= 1`, `== ok`: what a value must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Condition {
    comparison: Comparison,
    /// As it was written: a number if it reads as one, else a text.
    operand: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// Longest first, so that `>=` is not read as `>`.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

/// Why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCondition {
    #[error("a condition begins with `==`, `!=`, `<`, `<=`, `>` or `>=`")]
    NoComparison,
    #[error("a condition compares with something: `>= 1`, `== ok`")]
    NoOperand,
    #[error("`{0}` is not a number: only numbers are more or less than one another")]
    NotANumber(String),
}

impl Condition {
    /// Returns whether a number meets it. NaN meets none but `!=`.
    pub fn is_met_by(&self, value: f64) -> bool {
        match self.number() {
            Some(operand) => self.allows(value.partial_cmp(&operand)),
            // A number is never equal to a word.
            None => self.comparison == Comparison::NotEqual,
        }
    }

    /// Returns whether a text meets it. One that reads as a number is compared as
    /// one with a number.
    pub fn is_met_by_text(&self, value: &str) -> bool {
        match (value.trim().parse::<f64>(), self.number()) {
            (Ok(value), Some(_)) => self.is_met_by(value),
            (Ok(_) | Err(_), _) => match self.comparison {
                Comparison::Equal => value == self.operand,
                Comparison::NotEqual => value != self.operand,
                Comparison::Less
                | Comparison::AtMost
                | Comparison::Greater
                | Comparison::AtLeast => false,
            },
        }
    }

    /// Returns whether it compares with a number, and not with a word.
    pub fn compares_numbers(&self) -> bool {
        self.number().is_some()
    }

    fn number(&self) -> Option<f64> {
        self.operand.parse().ok()
    }

    fn allows(&self, order: Option<Ordering>) -> bool {
        match self.comparison {
            Comparison::Equal => order == Some(Ordering::Equal),
            Comparison::NotEqual => order != Some(Ordering::Equal),
            Comparison::Less => order == Some(Ordering::Less),
            Comparison::AtMost => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Comparison::Greater => order == Some(Ordering::Greater),
            Comparison::AtLeast => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

impl FromStr for Condition {
    type Err = BadCondition;

    fn from_str(text: &str) -> Result<Condition, BadCondition> {
        let text = text.trim();
        let (sign, comparison) = COMPARISONS
            .iter()
            .find(|(sign, _)| text.starts_with(sign))
            .ok_or(BadCondition::NoComparison)?;
        let operand = text[sign.len()..].trim();
        let operand = match operand.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => quoted,
            None if operand.is_empty() => return Err(BadCondition::NoOperand),
            None => operand,
        };
        let condition = Condition { comparison: *comparison, operand: operand.to_owned() };
        match comparison {
            Comparison::Equal | Comparison::NotEqual => Ok(condition),
            _ if condition.number().is_some_and(|number| !number.is_nan()) => Ok(condition),
            _ => Err(BadCondition::NotANumber(operand.to_owned())),
        }
    }
}

impl TryFrom<String> for Condition {
    type Error = BadCondition;

    fn try_from(text: String) -> Result<Condition, BadCondition> {
        text.parse()
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> String {
        condition.to_string()
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = COMPARISONS.iter().find(|(_, comparison)| *comparison == self.comparison);
        let sign = sign.map_or("", |(sign, _)| sign);
        match self.operand.is_empty() {
            true => write!(f, "{sign} \"\""),
            false => write!(f, "{sign} {}", self.operand),
        }
    }
}

/// When a gate has to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    PrePromotion,
    PostPromotion,
}

impl Phase {
    pub const BOTH: [Phase; 2] = [Phase::PrePromotion, Phase::PostPromotion];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::PrePromotion => "pre-promotion",
            Phase::PostPromotion => "post-promotion",
        })
    }
}

/// Which gate of a service: twelve hexadecimal digits that change with what it
/// checks and not with its patience, so that a longer timeout runs no job again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GateId(String);

impl GateId {
    const HEX_DIGITS: usize = 12;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not twelve lower-case hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a gate's id")]
pub struct BadGateId(String);

impl TryFrom<String> for GateId {
    type Error = BadGateId;

    fn try_from(text: String) -> Result<GateId, BadGateId> {
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        match text.len() == Self::HEX_DIGITS && text.chars().all(hex) {
            true => Ok(GateId(text)),
            false => Err(BadGateId(text)),
        }
    }
}

impl From<GateId> for String {
    fn from(id: GateId) -> String {
        id.0
    }
}

impl fmt::Display for GateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A gate of one release.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GateKey {
    pub service: ServiceName,
    pub release: ReleaseId,
    pub gate: GateId,
}

/// A gate to measure, and where the release stands that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateTarget {
    pub gate: Gate,
    /// The release's first replica that is ready.
    pub replica: ContainerId,
    /// Its address on the stack's network; None for a replica without one.
    pub address: Option<IpAddr>,
}

impl Gate {
    pub fn id(&self, phase: Phase) -> GateId {
        let fingerprint = Fingerprint::of(&(phase, &self.check));
        GateId(fingerprint.as_str()[..GateId::HEX_DIGITS].to_owned())
    }

    /// Returns the job, if it is one.
    pub fn job(&self) -> Option<&JobSpec> {
        match &self.check {
            GateCheck::Job(job) => Some(job),
            GateCheck::Exec { .. } | GateCheck::Http(_) | GateCheck::Prometheus { .. } => None,
        }
    }

    /// Returns whether it asks a replica, and not somebody else.
    pub fn asks_the_replica(&self) -> bool {
        match &self.check {
            GateCheck::Exec { .. } => true,
            GateCheck::Http(check) => matches!(check.target, HttpTarget::Replica { .. }),
            GateCheck::Job(_) | GateCheck::Prometheus { .. } => false,
        }
    }

    /// Returns whether it is measured in the background; a job is run instead.
    pub fn is_measured(&self) -> bool {
        self.job().is_none()
    }
}

/// What people call it: `job ./migrate`, `http https://example.com/health`. Shows no
/// value that may be secret.
impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.check {
            GateCheck::Job(JobSpec { command, image, .. }) => {
                f.write_str("job")?;
                image.iter().try_for_each(|image| write!(f, " {image}"))?;
                // Arguments may be secret; the program is not.
                let program = command.iter().flatten().next();
                program.iter().try_for_each(|program| write!(f, " {program}"))
            }
            GateCheck::Exec { command } => {
                let program = command.first().map_or("", String::as_str);
                write!(f, "exec {program}")
            }
            GateCheck::Http(HttpCheck { target: HttpTarget::Url(url), .. }) => {
                write!(f, "http {}", without_secrets(url))
            }
            GateCheck::Http(HttpCheck { target: HttpTarget::Replica { path, port }, .. }) => {
                let path = path.split(['?', '#']).next().unwrap_or_default();
                write!(f, "http :{port}{path}")
            }
            GateCheck::Prometheus { query, condition, .. } => {
                write!(f, "prometheus {query} {condition}")
            }
        }
    }
}

/// Returns a URL without its user, query and fragment.
fn without_secrets(url: &Secret) -> String {
    let url = url.reveal().split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return String::new() };
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(a, p)| (a, Some(p)));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match path {
        Some(path) => format!("{scheme}://{host}/{path}"),
        None => format!("{scheme}://{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(text: &str) -> Condition {
        text.parse().expect("a condition")
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        assert!(condition(">= 1").is_met_by(1.0) && !condition("> 1").is_met_by(1.0));
        assert!(condition("<0.05").is_met_by(0.01) && condition("== 1e3").is_met_by(1000.0));
        assert!(condition("== 1.0").is_met_by_text("1") && condition("!= 2").is_met_by_text("1"));
    }

    #[test]
    fn nothing_is_said_of_what_is_no_number() {
        for text in ["== 1", "< 1", ">= 1", "<= 1", "> 1"] {
            assert!(!condition(text).is_met_by(f64::NAN), "{text}");
            assert!(!condition(text).is_met_by_text("ok"), "{text}");
        }
        assert!(condition("== ok").is_met_by_text("ok") && condition("!= ok").is_met_by(1.0));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in [">= 1", "== ok", "!= two words", "== \"\""] {
            assert_eq!(condition(text).to_string(), text);
            assert_eq!(condition(&condition(text).to_string()), condition(text));
        }
    }

    #[test]
    fn what_is_no_condition_says_why() {
        assert_eq!("1".parse::<Condition>(), Err(BadCondition::NoComparison));
        assert_eq!(">=".parse::<Condition>(), Err(BadCondition::NoOperand));
        assert_eq!("> ok".parse::<Condition>(), Err(BadCondition::NotANumber("ok".to_owned())));
    }

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        let shown = |url| without_secrets(&Secret::new(url));
        assert_eq!(shown("https://me:pw@example.com/a/b?key=1#x"), "https://example.com/a/b");
        assert_eq!(shown("http://127.0.0.1:9090"), "http://127.0.0.1:9090");
    }

    #[test]
    fn patience_does_not_make_another_gate() {
        let job = JobSpec { command: None, image: None, environment: BTreeMap::new() };
        let gate = |timeout| Gate {
            check: GateCheck::Job(job.clone()),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(timeout),
            failure_limit: 0,
        };
        assert_eq!(gate(1).id(Phase::PrePromotion), gate(2).id(Phase::PrePromotion));
        assert_ne!(gate(1).id(Phase::PrePromotion), gate(1).id(Phase::PostPromotion));
    }
}
