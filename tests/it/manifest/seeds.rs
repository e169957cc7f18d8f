//! Compose files of real deployments, as their owners would copy them over.

use quaymaster::domain::{ServiceKind, Strategy};

use super::accepted;

#[test]
fn an_agents_stack_with_images_from_a_registry_is_read() {
    let stack = accepted(
        r#"
name: dev-tools
version: '3.8'
services:
  gateway-mcp:
    image: ${DOCKER_USERNAME:-yourusername}/dev-tools-gateway:${IMAGE_TAG:-latest}
    volumes:
      - mcp-config:/config:ro
    ports: ["8000:8000"]
  orchestrator:
    image: ${DOCKER_USERNAME:-yourusername}/dev-tools-orchestrator:${IMAGE_TAG:-latest}
    env_file: [app.env]
    depends_on:
      - gateway-mcp
      - postgres
    healthcheck:
      test: ["CMD", "curl", "-f", "http://localhost:8001/health"]
      interval: 30s
      timeout: 10s
      retries: 3
  postgres:
    image: postgres:15-alpine
    volumes:
      - postgres-data:/var/lib/postgresql/data
  qdrant:
    image: qdrant/qdrant:latest
    volumes:
      - qdrant-data:/qdrant/storage
volumes:
  postgres-data:
  qdrant-data:
  orchestrator-data:
  mcp-config:
"#,
    );
    assert_eq!(stack.services.len(), 4);
    let strategy = |name: &str| stack.services[&name.parse().unwrap()].rollout.strategy;
    assert_eq!(strategy("postgres"), Strategy::Recreate);
    assert_eq!(strategy("orchestrator"), Strategy::Rolling);
    // `orchestrator-data` is declared and not used.
    assert_eq!(stack.volumes.len(), 3);
}

#[test]
fn a_web_shop_with_its_own_network_and_replicas_is_read() {
    let stack = accepted(
        r#"
name: consensusnet
version: '3.8'

services:
  api:
    image: ghcr.io/hretheum/consensus.net/api:latest
    environment:
      - ENV=production
      - DATABASE_URL=${DATABASE_URL:-postgres://db}  # DO Managed DB
      - REDIS_URL=${REDIS_URL:-redis://redis:6379}
    restart: unless-stopped
    networks:
      - consensusnet

  agent:
    image: ghcr.io/hretheum/consensus.net/agent:latest
    restart: unless-stopped
    deploy:
      replicas: 3  # Multiple agent instances
    networks:
      - consensusnet

  nginx:
    image: ghcr.io/hretheum/consensus.net/nginx:latest
    ports:
      - "80:80"
      - "443:443"
    volumes:
      - ./letsencrypt:/etc/letsencrypt
    restart: unless-stopped
    networks:
      - consensusnet

  redis:
    image: redis:7-alpine
    restart: unless-stopped
    volumes:
      - redis_data:/data
    networks:
      - consensusnet

networks:
  consensusnet:
    driver: bridge

volumes:
  redis_data:
"#,
    );
    let agent = &stack.services[&"agent".parse().unwrap()];
    assert_eq!((agent.replicas, agent.kind), (3, ServiceKind::LongRunning));
    assert_eq!(agent.spec.networks[0].network, "consensusnet_consensusnet");
    assert_eq!(stack.networks.len(), 1);
}

#[test]
fn a_pipeline_with_migrations_that_run_once_is_read() {
    let stack = accepted(
        r#"
name: ethhook
services:
  migrate:
    image: ghcr.io/ipcasj/ethhook-admin-api:347a640
    command: ./migrate up
    restart: "no"
    depends_on:
      db: { condition: service_healthy }
  admin-api:
    image: ghcr.io/ipcasj/ethhook-admin-api:347a640
    depends_on:
      migrate: { condition: service_completed_successfully }
  event-ingestor:
    image: ghcr.io/ipcasj/ethhook-event-ingestor:347a640
    deploy: { resources: { limits: { memory: 512M } } }
  db:
    image: postgres:15-alpine
    healthcheck: { test: ["CMD-SHELL", "pg_isready -U $${POSTGRES_USER}"] }
    volumes: [ "db:/var/lib/postgresql/data" ]
volumes: { db: }
"#,
    );
    let db = &stack.services[&"db".parse().unwrap()];
    let test = &db.spec.healthcheck.as_ref().unwrap().test;
    assert_eq!(test[1], "pg_isready -U ${POSTGRES_USER}");
}

#[test]
fn what_a_development_file_builds_is_refused_line_by_line() {
    let report = super::refused(
        "name: dev\nservices:\n  api:\n    build: { context: ., dockerfile: Dockerfile.api }\n    ports: [\"8000:8000\"]\n  frontend:\n    build: ./frontend\n    image: a\n",
    );
    let found: Vec<_> = report.problems().iter().map(|it| (it.line, it.message.as_str())).collect();
    assert_eq!(
        found,
        [
            (3, "this service has no `image`"),
            (4, "`build` is not supported"),
            (7, "`build` is not supported"),
        ]
    );
}
