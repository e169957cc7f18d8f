//! The desired state in real Git repositories.

mod files;
mod follow;
mod trouble;

use std::path::PathBuf;

use quaymaster::{
    domain::{GitStanding, HostIdentity, Stack, manifest::AllowDeleteAll},
    ports::Source,
    source::{
        AgeIdentity,
        git::{GitSource, Options, Remote, RepoPath, Rewritten},
    },
};

use crate::rig::repo::Repo;

pub const PATH: &str = "stacks/prod.yaml";

/// Returns a file that declares one service on this image.
fn file(image: &str) -> String {
    format!("name: shop\nservices:\n  web: {{ image: \"{image}\" }}\n")
}

pub fn options(repo: &Repo) -> Options {
    options_of(&repo.url())
}

fn options_of(url: &str) -> Options {
    Options {
        policy: None,
        remote: Remote::parse(url).expect("a URL"),
        branch: "main".to_owned(),
        path: RepoPath::parse(PATH).expect("a path"),
        rewritten: Rewritten::Refuse,
        env_files: Vec::new(),
        allow_delete_all: AllowDeleteAll::No,
        host: HostIdentity::default(),
        age_identity: AgeIdentity::default(),
    }
}

fn state_dir(repo: &Repo) -> PathBuf {
    repo.beside("state")
}

pub async fn open(repo: &Repo) -> GitSource {
    open_with(repo, options(repo)).await
}

pub async fn open_with(repo: &Repo, options: Options) -> GitSource {
    GitSource::open(&state_dir(repo), options).await.expect("a repository can be made")
}

/// A repository with a file in it, and a source that has fetched it.
async fn fetched(image: &str) -> (Repo, GitSource) {
    let repo = Repo::new();
    repo.publish(PATH, &file(image));
    let source = open(&repo).await;
    source.fetch().await.expect("the remote is there");
    (repo, source)
}

async fn load(source: &GitSource) -> Stack {
    source.load().await.unwrap_or_else(|problem| panic!("{problem}"))
}

async fn refusal(source: &GitSource) -> String {
    source.load().await.expect_err("it is refused")
}

async fn image_of(source: &GitSource) -> String {
    load(source).await.services.values().next().expect("a service").image.to_string()
}

fn standing(source: &GitSource) -> GitStanding {
    source.standing().expect("a commit is known")
}

fn commit_of(source: &GitSource) -> String {
    standing(source).commit.to_string()
}
