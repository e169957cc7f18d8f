//! From nothing to everything.

use crate::rig::host::Host;

const TEN_SERVICES: &str = r#"
x-app: &app { probe: { http: { path: /health, port: 8080 } } }
services:
  store:
    image: APP:v1
    volumes: ["store:/data"]
    rollout: { strategy: recreate }
    probe: { http: { path: /health, port: 8080 } }
  schema:
    image: APP:v1
    command: ["job"]
    restart: "no"
    depends_on: { store: { condition: service_healthy } }
  api:
    image: APP:v1
    route: { host: api.HOST, port: 8080 }
    deploy: { replicas: 2 }
    depends_on:
      schema: { condition: service_completed_successfully }
      cache: { condition: service_started }
    <<: *app
  front:
    image: APP:v1
    route: { host: front.HOST, port: 8080 }
    depends_on: { api: { condition: service_healthy } }
    <<: *app
  cache: { image: APP:v1, probe: { tcp: { port: 8080 } } }
  search: { image: APP:v1, <<: *app }
  mailer: { image: APP:v1, probe: { exec: { command: ["/demo", "check"] } } }
  reviews: { image: APP:v1, <<: *app, depends_on: [cache] }
  billing: { image: APP:v1, <<: *app, depends_on: [cache, search] }
  metrics: { image: APP:v1 }
volumes: { store: {} }
"#;

#[test]
fn ten_services_start_in_the_order_they_need_each_other() {
    let mut host = Host::new();
    host.image("v1");
    host.own_volume("store");
    host.save(TEN_SERVICES);
    host.start();

    let status = host.until_settled();
    assert_eq!(status.services.len(), 10);
    host.until_answers("front", "v1 blue");
    host.until_answers("api", "v1 blue");

    let started = |service: &str| {
        let of_service = host.replicas().into_iter().filter(|replica| replica.service == service);
        of_service.map(|replica| replica.started_at).min().unwrap_or_default()
    };
    // RFC 3339 in UTC with equal precision compares as text.
    assert!(started("store") < started("schema"), "the job started before its store");
    assert!(started("schema") < started("api"), "the service started before its job was done");
    assert!(started("api") < started("front"), "the front started before its back");
    assert_eq!(host.running("api").len(), 2);
}

#[test]
fn apply_converges_once_and_leaves_everything_running() {
    let host = Host::new();
    host.image("v1");
    host.save(&super::shop("v1", "blue"));
    let output = host.quaymaster(&["apply", "quaymaster.yaml"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(host.site("shop").banner().as_deref(), Some("v1 blue"));

    // Nothing is left to do, so nothing is done.
    let before = host.replicas();
    let plan = host.quaymaster(&["plan", "quaymaster.yaml", "--exit-code"]);
    assert_eq!(plan.status.code(), Some(0), "{}", String::from_utf8_lossy(&plan.stdout));
    assert!(host.quaymaster(&["apply", "quaymaster.yaml"]).status.success());
    assert_eq!(host.replicas(), before);
}

#[test]
fn a_plan_says_what_apply_would_do_and_does_nothing() {
    let host = Host::new();
    host.image("v1");
    host.save(&super::shop("v1", "blue"));
    let plan = host.quaymaster(&["plan", "quaymaster.yaml", "--exit-code"]);
    assert_eq!(plan.status.code(), Some(2), "{}", String::from_utf8_lossy(&plan.stderr));
    assert!(String::from_utf8_lossy(&plan.stdout).contains("shop"));
    assert_eq!(host.replicas(), []);
}
