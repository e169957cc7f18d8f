//! Engines that are too old, elsewhere, or not there.

use quaymaster::docker::{ConnectError, Docker, Options};

use crate::rig::free_port;

use super::{Berth, fake};

async fn connect(host: String) -> Result<Docker, ConnectError> {
    let options = Options { host: Some(host), ..Options::default() };
    Docker::connect(&Berth::new().stack, options).await
}

#[tokio::test]
async fn an_engine_that_is_too_old_is_refused_in_words() {
    let (old, _) = fake::engine("1.40", 0).await;
    let error = connect(format!("tcp://{}", old.host())).await.err().expect("too old");
    assert!(
        error
            .to_string()
            .ends_with("speaks API 1.40; Quaymaster needs 1.41 (Docker 20.10) or newer"),
        "{error}"
    );
    let (new, _) = fake::engine("1.53", 0).await;
    connect(format!("tcp://{}", new.host())).await.expect("new enough");
}

#[tokio::test]
async fn an_engine_that_is_down_is_told_in_its_cause() {
    let error = connect(format!("tcp://127.0.0.1:{}", free_port())).await.err().expect("down");
    assert!(error.to_string().contains("Connection refused"), "{error}");
}
