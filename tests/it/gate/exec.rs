//! Commands inside the replica.

use quaymaster::domain::{
    GateCheck,
    snapshot::{Failure, FailureKind, Measurement},
};

use super::{Commands, Gatekeeping, failed, passed, target, unanswered};

async fn first(exec: Commands, command: &[&str]) -> Measurement {
    let command = command.iter().map(|&word| word.to_owned()).collect();
    let keeping = Gatekeeping::of(exec);
    keeping.watch([("web", target(GateCheck::Exec { command }))]);
    keeping.woken_until("web", |_| true).await.last
}

#[tokio::test]
async fn only_exit_code_0_passes() {
    assert_eq!(first(Commands(|_| Ok(0)), &["./check"]).await, passed("exited with code 0"));
    assert_eq!(first(Commands(|_| Ok(3)), &["./check"]).await, failed("exited with code 3"));
}

#[tokio::test]
async fn a_command_that_cannot_run_says_nothing_and_its_arguments_are_not_told() {
    fn refused(command: &[String]) -> Result<i64, Failure> {
        let message = format!("OCI runtime\n exec failed: {}", command.join(" "));
        Err(Failure { kind: FailureKind::Refused, message })
    }
    let told = unanswered("OCI runtime exec failed: ./check");
    assert_eq!(first(Commands(refused), &["./check"]).await, told);
    let told = format!("{:?}", first(Commands(refused), &["./check", "Canary-5f1e"]).await);
    assert!(told.contains("Unanswered") && !told.contains("Canary"), "{told}");
}
