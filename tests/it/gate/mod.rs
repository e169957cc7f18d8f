//! The gatekeeper against real sockets and a real Prometheus.

mod exec;
mod http;
mod leaks;
mod outside;
mod prometheus;
mod watching;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::Request, response::Response};
use quaymaster::{
    domain::{
        ContainerId, Gate, GateCheck, GateKey, GateTarget, Phase, Secret,
        gate::{HttpCheck, HttpTarget, JsonCheck},
        snapshot::{Failure, Measured, Measurement},
    },
    gate::Gates,
    ports::{Exec, Gatekeeper},
};
use tokio::{net::TcpListener, sync::Notify};

/// Long enough for any loaded machine; reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(60);

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn gate(check: GateCheck) -> Gate {
    Gate {
        check,
        interval: Duration::from_millis(20),
        timeout: Duration::from_secs(20),
        failure_limit: 0,
    }
}

fn target(check: GateCheck) -> GateTarget {
    GateTarget {
        gate: gate(check),
        replica: ContainerId("web-1".to_owned()),
        address: Some(LOCALHOST),
    }
}

fn key(name: &str) -> GateKey {
    // Any id does: what tells targets apart here is the service's name.
    let any = gate(GateCheck::Exec { command: vec![name.to_owned()] });
    GateKey {
        service: name.parse().expect("a service's name"),
        release: "0123456789ab".to_owned().try_into().expect("a release's id"),
        gate: any.id(Phase::PrePromotion),
    }
}

fn asks(target: HttpTarget) -> HttpCheck {
    HttpCheck { target, headers: BTreeMap::new(), status: None, json: None }
}

fn url(url: impl Into<String>) -> HttpCheck {
    asks(HttpTarget::Url(Secret::new(url)))
}

fn replica(path: &str, port: u16) -> HttpCheck {
    asks(HttpTarget::Replica { path: path.to_owned(), port })
}

fn header(name: &str, value: &str) -> BTreeMap<String, Secret> {
    BTreeMap::from([(name.to_owned(), Secret::new(value))])
}

fn json(pointer: &str, condition: &str) -> Option<JsonCheck> {
    let condition = Some(condition.parse().expect("a condition"));
    Some(JsonCheck { pointer: pointer.to_owned(), condition })
}

fn passed(text: &str) -> Measurement {
    Measurement::Passed(text.to_owned())
}

fn failed(text: &str) -> Measurement {
    Measurement::Failed(text.to_owned())
}

fn unanswered(text: &str) -> Measurement {
    Measurement::Unanswered(text.to_owned())
}

/// An HTTP server that keeps what it was asked; it lives as long as the test's
/// runtime.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    async fn start(
        answer: impl Fn(&Request) -> Response + Clone + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind((LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        let app = Router::new().fallback(move |request: Request| async move {
            let response = answer(&request);
            kept.lock().expect("unpoisoned").push(request);
            response
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Server { port, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn asked(&self) -> usize {
        self.requests.lock().expect("unpoisoned").len()
    }

    /// Returns the first request: its target, and one of its headers.
    fn first(&self, header: &str) -> (String, Option<String>) {
        let requests = self.requests.lock().expect("unpoisoned");
        let request = requests.first().expect("it was asked");
        let value = request.headers().get(header).map(|it| it.to_str().expect("text").to_owned());
        (request.uri().to_string(), value)
    }
}

fn answer(status: u16, body: impl Into<axum::body::Body>) -> Response {
    Response::builder().status(status).body(body.into()).expect("an answer")
}

/// An engine without containers: every command ends as the test says.
struct Commands(fn(&[String]) -> Result<i64, Failure>);

impl Exec for Commands {
    async fn exec(&self, _: &ContainerId, command: &[String], _: Duration) -> Result<i64, Failure> {
        (self.0)(command)
    }
}

/// A gatekeeper, and the wakes it gave.
struct Gatekeeping {
    gates: Gates<Commands>,
    woken: Arc<Notify>,
    wakes: Arc<AtomicUsize>,
}

impl Gatekeeping {
    fn begin() -> Gatekeeping {
        Gatekeeping::of(Commands(|_| panic!("this gate runs no command")))
    }

    fn of(exec: Commands) -> Gatekeeping {
        let (woken, wakes) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let (wake, count) = (Arc::clone(&woken), Arc::clone(&wakes));
        let wake = Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            wake.notify_one();
        });
        Gatekeeping { gates: Gates::new(exec, wake), woken, wakes }
    }

    fn watch(&self, targets: impl IntoIterator<Item = (&'static str, GateTarget)>) {
        self.gates.watch(targets.into_iter().map(|(name, target)| (key(name), target)).collect());
    }

    fn measured(&self, name: &str) -> Option<Measured> {
        self.gates.measured().remove(&key(name))
    }

    /// Waits on wakes alone until the last measurement is as wanted: a change
    /// without a wake fails the test.
    async fn woken_until(&self, name: &str, wanted: impl Fn(&Measurement) -> bool) -> Measured {
        let waiting = async {
            loop {
                self.woken.notified().await;
                if let Some(measured) = self.measured(name)
                    && wanted(&measured.last)
                {
                    return measured;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("never so; it stands at {:?}", self.measured(name)))
    }

    /// Waits, asking again and again, until so many have passed.
    async fn passed_times(&self, name: &str, times: u32) -> Measured {
        let waiting = async {
            loop {
                match self.measured(name) {
                    Some(measured) if measured.passed >= times => return measured,
                    Some(_) | None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("it passes that often")
    }
}

/// Returns how a first measurement of this check comes out.
async fn first(check: HttpCheck) -> Measurement {
    first_of(target(GateCheck::Http(check))).await
}

async fn first_of(target: GateTarget) -> Measurement {
    let keeping = Gatekeeping::begin();
    keeping.watch([("web", target)]);
    keeping.woken_until("web", |_| true).await.last
}
