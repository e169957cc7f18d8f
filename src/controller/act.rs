//! Doing one step: dumb, idempotent, and re-observed.

use std::sync::Arc;

use tracing::{info, warn};

use crate::{
    domain::{
        memory::KEPT_LOG_LINES,
        snapshot::{Failure, Outcome},
        stack::ProxyConfig,
    },
    plan::{NewHold, Step},
    ports::{Engine, Proxy, Verifier},
};

/// Does a step and returns how it ended.
pub(super) async fn act<E: Engine, X: Proxy>(
    engine: Arc<E>,
    proxy: Arc<X>,
    verifier: Arc<dyn Verifier>,
    config: Option<ProxyConfig>,
    step: Step,
) -> Outcome {
    let subject = step.subject();
    let result = match &step {
        Step::CreateNetwork { name, spec } => engine.create_network(name, spec).await,
        Step::CreateVolume { name, spec } => engine.create_volume(name, spec).await,
        Step::Pull { image, .. } => {
            engine.begin_pull(image);
            Ok(())
        }
        Step::Verify { wanted, .. } => verifier.verify(wanted).await,
        Step::Create(new) => engine.create(new).await,
        Step::Start { container, .. } => engine.start(container).await,
        Step::SetRestartPolicy { container, policy, .. } => {
            engine.set_restart_policy(container, *policy).await
        }
        Step::Stop { container, grace, .. } => engine.stop(container, *grace).await,
        Step::Remove { container, .. } => engine.remove(container).await,
        Step::Hold(new) => return hold(&*engine, new).await,
        Step::WriteRoutes { table, .. } => match &config {
            Some(config) => proxy.write(config, table).await,
            None => Ok(()),
        },
        Step::RemoveImage { id, digest } => engine.remove_image(id, digest).await,
    };
    say(&step, &result);
    match (result, step) {
        (result, Step::Verify { wanted, .. }) => Outcome::Verified { image: wanted.image, result },
        (Err(failure), _) => Outcome::Failed { subject, failure },
        (Ok(()), Step::SetRestartPolicy { service, container, .. }) => {
            Outcome::RestartPolicySet { service, container }
        }
        (Ok(()), Step::Start { service, container, .. }) => Outcome::Started { service, container },
        (Ok(()), Step::Stop { service, container, .. }) => Outcome::Stopped { service, container },
        (Ok(()), _) => Outcome::Done { subject },
    }
}

fn say(step: &Step, result: &Result<(), Failure>) {
    let subject = step.subject();
    let service = subject.service().map(tracing::field::display);
    match result {
        Ok(()) => info!(service, "{step}"),
        Err(failure) => warn!(service, "{step} failed: {failure}"),
    }
}

/// Keeps the log before the containers go. A log that cannot be read does not
/// keep a failed release from being held.
async fn hold(engine: &impl Engine, new: &NewHold) -> Outcome {
    let mut hold = new.hold.clone();
    if let Some(id) = &new.log_of {
        match engine.logs(id, KEPT_LOG_LINES).await {
            Ok(lines) => hold.log = lines.iter().map(|line| new.scrub(line)).collect(),
            Err(failure) => warn!(service = %new.service, "its log cannot be kept: {failure}"),
        }
    }
    warn!(service = %new.service, image = %hold.image, "held: {}", hold.reason);
    for line in &hold.log {
        warn!(service = %new.service, "it last said: {line}");
    }
    Outcome::Held { service: new.service.clone(), of: new.of, hold: Box::new(hold) }
}
