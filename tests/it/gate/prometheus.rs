//! Gates on a real Prometheus, which scrapes a target that the test controls.

use std::sync::{Arc, Mutex};

use quaymaster::domain::{GateCheck, GateTarget, Secret, snapshot::Measurement};

use super::{Gatekeeping, Server, answer, passed, target};
use crate::rig::prometheus::Prometheus;

/// A scraped target that exposes one ratio.
async fn exposing(ratio: &str) -> (Server, Arc<Mutex<String>>) {
    let ratio = Arc::new(Mutex::new(ratio.to_owned()));
    let now = Arc::clone(&ratio);
    let server = Server::start(move |_| {
        let ratio = now.lock().expect("unpoisoned").clone();
        let text = format!("# TYPE shop_errors_ratio gauge\nshop_errors_ratio {ratio}\n");
        let mut answer = answer(200, text);
        let plain = axum::http::HeaderValue::from_static("text/plain; version=0.0.4");
        answer.headers_mut().insert("content-type", plain);
        answer
    });
    (server.await, ratio)
}

fn query(prometheus: &Prometheus, query: &str, condition: &str) -> GateTarget {
    target(GateCheck::Prometheus {
        url: Secret::new(prometheus.url()),
        query: query.to_owned(),
        condition: condition.parse().expect("a condition"),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_is_asked() {
    let (scraped, ratio) = exposing("0.01").await;
    let mut prometheus = Prometheus::start(scraped.port);
    let keeping = Gatekeeping::begin();
    keeping.watch([
        ("met", query(&prometheus, "shop_errors_ratio", "< 0.05")),
        ("text", query(&prometheus, "\"ok\"", "> 0")),
        ("range", query(&prometheus, "shop_errors_ratio[1m]", "> 0")),
        ("bad", query(&prometheus, "shop_errors_ratio{", "> 0")),
        ("scalar", query(&prometheus, "vector(2) and on() shop_errors_ratio", "== 2")),
        ("none", query(&prometheus, "no_such_metric", "> 0")),
    ]);
    // Each wake may be of any of them, so they are looked at one after another.
    let becomes = async |name: &str, wanted: &(dyn Fn(&Measurement) -> bool + Sync)| {
        let waiting = async {
            loop {
                match keeping.measured(name) {
                    Some(measured) if wanted(&measured.last) => return measured.last,
                    Some(_) | None => tokio::time::sleep(super::Duration::from_millis(20)).await,
                }
            }
        };
        tokio::time::timeout(super::PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("{name} stands at {:?}", keeping.measured(name)))
    };
    let is = |measurement: Measurement| move |last: &Measurement| *last == measurement;

    becomes("met", &is(passed("0.01"))).await;
    becomes("scalar", &is(passed("2"))).await;
    becomes("none", &is(Measurement::Unanswered("no data".to_owned()))).await;
    let no_numbers = "the query answers with a text, a range or a histogram, not with numbers";
    becomes("text", &is(Measurement::Failed(no_numbers.to_owned()))).await;
    becomes("range", &is(Measurement::Failed(no_numbers.to_owned()))).await;
    let bad = becomes("bad", &|last| matches!(last, Measurement::Failed(_))).await;
    assert!(format!("{bad:?}").contains("Prometheus: invalid parameter"), "{bad:?}");

    *ratio.lock().expect("unpoisoned") = "0.5".to_owned();
    becomes("met", &is(Measurement::Failed("0.5 is not < 0.05".to_owned()))).await;
    *ratio.lock().expect("unpoisoned") = "NaN".to_owned();
    becomes("met", &is(Measurement::Unanswered("no data".to_owned()))).await;

    prometheus.stop();
    let refused = |last: &Measurement| matches!(last, Measurement::Unanswered(why) if why.contains("refused"));
    becomes("met", &refused).await;
    *ratio.lock().expect("unpoisoned") = "0.02".to_owned();
    prometheus.restart();
    becomes("met", &is(passed("0.02"))).await;
}
