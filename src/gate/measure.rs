//! One measurement of one gate: ask, then judge.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::{
    domain::{
        Gate, GateCheck, GateTarget,
        gate::{Condition, HttpCheck, HttpTarget},
        snapshot::Measurement,
        time::human,
    },
    http::{Answer, Connector, NoAnswer, Question, Route, Secrets, Wants, address, ask},
    ports::Exec,
};

use super::{judge_http, judge_prometheus};

/// The most commands that run inside replicas at a time, as for probes.
const MAX_EXECS: usize = 4;

/// What the engine gets on top of a command's timeout, so that it is the one to end
/// the command.
const EXEC_GRACE: Duration = Duration::from_secs(1);

/// Makes measurements; the same for all gates.
pub(super) struct Measurer<X> {
    connector: Connector,
    exec: X,
    execs: Semaphore,
}

impl<X: Exec> Measurer<X> {
    pub fn new(exec: X) -> Measurer<X> {
        Measurer { connector: Connector::by_environment(), exec, execs: Semaphore::new(MAX_EXECS) }
    }

    /// Measures once, in at most the gate's timeout. No text holds a secret (S9).
    pub async fn measure(&self, target: &GateTarget) -> Measurement {
        let gate = &target.gate;
        let secrets = Secrets::of(gate);
        match &gate.check {
            GateCheck::Http(check) => self.http(target, check, &secrets).await,
            GateCheck::Prometheus { url, query, condition } => {
                self.prometheus(gate, (url.reveal(), query), condition, &secrets).await
            }
            GateCheck::Exec { command } => self.exec(target, command, &secrets).await,
            GateCheck::Job(_) => Measurement::Unanswered("a job is run, not measured".to_owned()),
        }
    }

    async fn http(&self, target: &GateTarget, check: &HttpCheck, secrets: &Secrets) -> Measurement {
        let unanswered = |text: &str| Measurement::Unanswered(text.to_owned());
        let (url, route, host) = match &check.target {
            HttpTarget::Url(url) => {
                (url::Url::parse(url.reveal()).ok(), Route::ByEnvironment, None)
            }
            HttpTarget::Replica { path, port } => {
                let Some(ip) = target.address else {
                    return unanswered("the replica has no address on the stack's network");
                };
                // As a probe asks: frameworks that check the host know this name.
                let host = format!("localhost:{port}");
                (address::of_replica(ip, *port, path), Route::Direct, Some(host))
            }
        };
        let Some(url) = url else { return unanswered("this is no URL") };
        let wants = if check.json.is_some() { Wants::Body } else { Wants::Status };
        let question = Question { url, headers: &check.headers, route, wants, host, post: None };
        match (self.ask(&target.gate, &question).await, &check.target) {
            (Ok(answer), _) => judge_http::judge(check, answer.status, &answer.body, secrets),
            // It is the release itself that took the connection and then failed.
            (Err(NoAnswer::Broken(why)), HttpTarget::Replica { .. }) => {
                Measurement::Failed(secrets.in_a_few_words(&why))
            }
            (Err(NoAnswer::Broken(why)), HttpTarget::Url(_))
            | (Err(NoAnswer::Unreached(why)), HttpTarget::Url(_) | HttpTarget::Replica { .. }) => {
                Measurement::Unanswered(secrets.in_a_few_words(&why))
            }
        }
    }

    async fn prometheus(
        &self,
        gate: &Gate,
        (base, query): (&str, &str),
        condition: &Condition,
        secrets: &Secrets,
    ) -> Measurement {
        let Some(url) = address::of_query(base, query) else {
            return Measurement::Unanswered("this is no URL".to_owned());
        };
        let question = Question {
            url,
            headers: &BTreeMap::new(),
            route: Route::ByEnvironment,
            wants: Wants::Body,
            host: None,
            post: None,
        };
        match self.ask(gate, &question).await {
            Ok(answer) => judge_prometheus::judge(condition, answer.status, &answer.body, secrets),
            Err(NoAnswer::Unreached(why) | NoAnswer::Broken(why)) => {
                Measurement::Unanswered(secrets.in_a_few_words(&why))
            }
        }
    }

    async fn ask(&self, gate: &Gate, question: &Question<'_>) -> Result<Answer, NoAnswer> {
        ask(&self.connector, question, Instant::now() + gate.timeout).await
    }

    async fn exec(
        &self,
        target: &GateTarget,
        command: &[String],
        secrets: &Secrets,
    ) -> Measurement {
        let limit = target.gate.timeout;
        let _permit = self.execs.acquire().await.expect("the semaphore is never closed");
        let run = self.exec.exec(&target.replica, command, limit);
        match timeout(limit + EXEC_GRACE, run).await {
            Ok(Ok(0)) => Measurement::Passed("exited with code 0".to_owned()),
            Ok(Ok(code)) => Measurement::Failed(format!("exited with code {code}")),
            Ok(Err(failure)) => Measurement::Unanswered(secrets.in_a_few_words(&failure.message)),
            Err(_elapsed) => Measurement::Unanswered(format!("timed out after {}", human(limit))),
        }
    }
}
