//! Running a command inside a container, for its exit code.

use std::{sync::PoisonError, time::Duration};

use bollard::{
    exec::{StartExecOptions, StartExecResults},
    models::ExecConfig,
};
use futures::StreamExt;

use crate::domain::{
    ContainerId,
    snapshot::{Failure, FailureKind},
    time::human,
};

use super::{
    Docker,
    connection::CALL_DEADLINE,
    failure::{CallError, within},
};

const DOING: &str = "run the command in the container";

impl Docker {
    /// Runs a command and returns its exit code, or fails after `timeout`.
    ///
    /// Docker has no way to end an exec, so a command that hangs goes on inside.
    /// While it does, no second one is started in that container.
    pub(super) async fn run_in_container(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> Result<i64, Failure> {
        self.refuse_while_overdue(id).await?;
        let config = ExecConfig {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let created = within(CALL_DEADLINE, self.client.create_exec(&id.0, config))
            .await
            .map_err(|error| error.transient(DOING))?;
        match within(timeout, self.run_to_end(&created.id)).await {
            Ok(()) => {}
            Err(CallError::Deadline(_)) => {
                self.overdue().insert(id.clone(), created.id);
                return Err(transient(format!("timed out after {}", human(timeout))));
            }
            Err(error) => return Err(error.transient(DOING)),
        }
        let ended = within(CALL_DEADLINE, self.client.inspect_exec(&created.id))
            .await
            .map_err(|error| error.transient(DOING))?;
        ended
            .exit_code
            .ok_or_else(|| transient("the command ended without an exit code".to_owned()))
    }

    /// Starts the command and reads what it says until it has ended. The output
    /// is not kept, but one that is not read would block the command.
    async fn run_to_end(&self, exec_id: &str) -> Result<(), bollard::errors::Error> {
        let attached = self.client.start_exec(exec_id, None::<StartExecOptions>).await?;
        let StartExecResults::Attached { mut output, input: _ } = attached else { return Ok(()) };
        while let Some(chunk) = output.next().await {
            chunk?;
        }
        Ok(())
    }

    async fn refuse_while_overdue(&self, id: &ContainerId) -> Result<(), Failure> {
        let Some(exec_id) = self.overdue().get(id).cloned() else { return Ok(()) };
        let seen = within(CALL_DEADLINE, self.client.inspect_exec(&exec_id)).await;
        if seen.is_ok_and(|seen| seen.running == Some(true)) {
            let message = "the command before this one timed out and still runs".to_owned();
            return Err(transient(message));
        }
        self.overdue().remove(id);
        Ok(())
    }

    fn overdue(&self) -> std::sync::MutexGuard<'_, std::collections::HashMap<ContainerId, String>> {
        self.overdue_execs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn transient(message: String) -> Failure {
    Failure { kind: FailureKind::Transient, message }
}
