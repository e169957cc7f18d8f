//! `rollout:` — how one release replaces another.

use std::time::Duration;

use crate::domain::{Failover, Phase, Rollout, Strategy};

use super::{
    fields::{Fields, Refusals, refuse_name},
    gates::{self, WrittenGate},
    reader::Reader,
    yaml::{Entry, Node, Span},
};

const REFUSALS: Refusals = Refusals {
    later: &[],
    never: &[("rollout_group", "write it in the service, beside `rollout:`")],
};

const STRATEGIES: [(&str, Strategy); 3] = [
    ("blue-green", Strategy::BlueGreen),
    ("rolling", Strategy::Rolling),
    ("recreate", Strategy::Recreate),
];

const FAILOVERS: [(&str, Failover); 2] = [("standby", Failover::Standby), ("none", Failover::None)];

/// What the file says; None where it does not.
#[derive(Clone, Debug, Default)]
pub(super) struct WrittenRollout {
    pub strategy: Option<(Strategy, Span)>,
    progress_deadline: Option<(Duration, Span)>,
    min_healthy_time: Option<(Duration, Span)>,
    drain_timeout: Option<Duration>,
    bake: Option<Duration>,
    scale_down_delay: Option<Duration>,
    auto_revert: Option<bool>,
    failover: Option<Failover>,
    pre_promotion: Option<WrittenGates>,
    post_promotion: Option<WrittenGates>,
    auto_promote: Option<(bool, Span)>,
}

/// The gates of one phase, and where the file lists them.
#[derive(Clone, Debug)]
struct WrittenGates {
    gates: Vec<WrittenGate>,
    span: Span,
}

impl WrittenRollout {
    /// Returns where the service says that it is promoted by hand, if it does.
    pub fn by_hand_at(&self) -> Option<Span> {
        self.auto_promote.filter(|it| !it.0).map(|it| it.1)
    }

    /// Returns this, with `defaults` where it says nothing.
    pub fn or(self, defaults: WrittenRollout) -> WrittenRollout {
        WrittenRollout {
            strategy: self.strategy.or(defaults.strategy),
            progress_deadline: self.progress_deadline.or(defaults.progress_deadline),
            min_healthy_time: self.min_healthy_time.or(defaults.min_healthy_time),
            drain_timeout: self.drain_timeout.or(defaults.drain_timeout),
            bake: self.bake.or(defaults.bake),
            scale_down_delay: self.scale_down_delay.or(defaults.scale_down_delay),
            auto_revert: self.auto_revert.or(defaults.auto_revert),
            failover: self.failover.or(defaults.failover),
            pre_promotion: self.pre_promotion.or(defaults.pre_promotion),
            post_promotion: self.post_promotion.or(defaults.post_promotion),
            auto_promote: self.auto_promote.or(defaults.auto_promote),
        }
    }

    /// Returns where gates are listed first, if they are.
    pub fn gates_at(&self) -> Option<Span> {
        let listed = self.pre_promotion.iter().chain(&self.post_promotion);
        listed.filter(|it| !it.gates.is_empty()).map(|it| it.span).min()
    }

    /// Forgets the gates.
    pub fn without_gates(self) -> WrittenRollout {
        WrittenRollout { pre_promotion: None, post_promotion: None, ..self }
    }

    /// Fills in every default. `min_healthy_time` is what a service whose probe
    /// asks nothing needs, so it is the service's to say.
    pub fn complete(
        self,
        reader: &mut Reader<'_>,
        strategy: Strategy,
        min_healthy_time: Duration,
        subject: &gates::Subject<'_>,
    ) -> Rollout {
        let mut of_phase = |written: Option<WrittenGates>, phase| {
            let written = written.map(|it| it.gates).unwrap_or_default();
            gates::complete(reader, written, phase, subject)
        };
        let pre_promotion = of_phase(self.pre_promotion, Phase::PrePromotion);
        let post_promotion = of_phase(self.post_promotion, Phase::PostPromotion);
        let rollout = Rollout {
            strategy,
            progress_deadline: self.progress_deadline.map_or(minutes(10), |it| it.0),
            min_healthy_time: self.min_healthy_time.map_or(min_healthy_time, |it| it.0),
            drain_timeout: self.drain_timeout.unwrap_or(Duration::from_secs(30)),
            bake: self.bake.unwrap_or(Duration::from_secs(30)),
            scale_down_delay: self.scale_down_delay.unwrap_or(minutes(10)),
            auto_revert: self.auto_revert.unwrap_or(true),
            failover: self.failover.unwrap_or(Failover::Standby),
            pre_promotion,
            post_promotion,
            auto_promote: self.auto_promote.is_none_or(|it| it.0),
        };
        if rollout.min_healthy_time >= rollout.progress_deadline
            && let Some((_, span)) = self.min_healthy_time.or(self.progress_deadline)
        {
            reader.refuse(
                span,
                "no release could get ready: `min_healthy_time` is not shorter than `progress_deadline`",
                "make `progress_deadline` longer",
            );
        }
        rollout
    }
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> WrittenRollout {
    let Some(map) = reader.map(node, "a map such as `{ strategy: blue-green }`") else {
        return WrittenRollout::default();
    };
    let mut fields = Fields::of(map);
    let strategy = fields.get("strategy");
    let progress_deadline = fields.get("progress_deadline");
    let min_healthy_time = fields.get("min_healthy_time");
    let mut may_be_zero =
        |reader: &mut Reader<'_>, key| fields.get(key).and_then(|it| reader.duration(&it.value));
    let drain_timeout = may_be_zero(reader, "drain_timeout");
    let bake = may_be_zero(reader, "bake");
    let scale_down_delay = may_be_zero(reader, "scale_down_delay");
    let auto_revert = fields.get("auto_revert").and_then(|it| reader.flag(&it.value));
    let failover = fields.get("failover");
    let (pre_promotion, post_promotion) =
        (fields.get("pre_promotion"), fields.get("post_promotion"));
    let auto_promote =
        fields.get("auto_promote").and_then(|it| Some((reader.flag(&it.value)?, it.key_span)));
    fields.finish(reader, &REFUSALS);
    WrittenRollout {
        strategy: strategy
            .and_then(|it| Some((read_name(reader, it, "strategy", &STRATEGIES)?, it.value.span))),
        progress_deadline: progress_deadline
            .and_then(|it| Some((reader.positive_duration(&it.value)?, it.value.span))),
        min_healthy_time: min_healthy_time
            .and_then(|it| Some((reader.duration(&it.value)?, it.value.span))),
        drain_timeout,
        bake,
        scale_down_delay,
        auto_revert,
        failover: failover.and_then(|it| read_name(reader, it, "failover", &FAILOVERS)),
        pre_promotion: pre_promotion.map(|it| read_gates(reader, it)),
        post_promotion: post_promotion.map(|it| read_gates(reader, it)),
        auto_promote,
    }
}

fn read_gates(reader: &mut Reader<'_>, entry: &Entry) -> WrittenGates {
    WrittenGates { gates: gates::read(reader, entry), span: entry.key_span }
}

/// Reads one of a few names.
fn read_name<T: Copy>(
    reader: &mut Reader<'_>,
    entry: &Entry,
    what: &str,
    known: &[(&str, T)],
) -> Option<T> {
    let text = reader.text(&entry.value, &format!("a {what}"))?;
    let found = known.iter().find(|(name, _)| *name == text.value);
    if found.is_none() {
        let quoted: Vec<String> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
        let (last, others) = quoted.split_last()?;
        refuse_name(
            reader,
            text.span,
            format!("unknown {what} `{}`", text.shown()),
            &text.value,
            known.iter().map(|(name, _)| *name),
            format!("a {what} is {} or {last}", others.join(", ")),
        );
    }
    found.map(|(_, it)| *it)
}
