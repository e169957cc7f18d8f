//! A branch is followed forward, however it got there, and never back unasked.

use quaymaster::{
    ports::Source,
    source::git::{FetchError, GitSource, Options, RepositoryError, Rewritten},
};

use super::{PATH, commit_of, fetched, file, image_of, load, open, open_with, options, standing};
use crate::rig::{repo::Repo, run};

fn objects(source: &GitSource) -> String {
    let repository = source.file();
    let folder = repository.ancestors().find(|folder| folder.ends_with("tree")).expect("the tree");
    let repository = folder.parent().expect("a folder").join("repository");
    let mut git = crate::rig::repo::git();
    run(git.arg("--git-dir").arg(repository).args(["rev-list", "--all", "--count"]))
        .trim()
        .to_owned()
}

#[tokio::test]
async fn the_first_fetch_takes_one_commit() {
    let repo = Repo::new();
    for n in 0..5 {
        repo.publish(PATH, &file(&format!("web:{n}")));
    }
    let source = open(&repo).await;
    assert!(!source.has_commit());
    let nothing = source.load().await.expect_err("nothing is fetched");
    assert!(nothing.starts_with("nothing is fetched yet from file://"), "{nothing}");
    source.fetch().await.expect("the remote is there");
    let stack = load(&source).await;
    assert_eq!(stack.commit.expect("of a commit").as_str(), repo.head());
    let standing = standing(&source);
    assert_eq!(
        (standing.commit.as_str(), standing.subject.as_str()),
        (&*repo.head(), "change stacks/prod.yaml")
    );
    assert_eq!((standing.url, standing.trouble), (repo.url(), None));
    assert_eq!(objects(&source), "1", "more history was fetched than is needed");
}

#[tokio::test]
async fn the_branch_is_followed_over_one_commit_and_over_many() {
    let (repo, source) = fetched("web:1").await;
    assert_eq!(image_of(&source).await, "web:1");
    let second = repo.publish(PATH, &file("web:2"));
    assert_eq!(image_of(&source).await, "web:1", "loading touched the network");
    source.fetch().await.expect("it moved on");
    assert_eq!((commit_of(&source), image_of(&source).await), (second, "web:2".to_owned()));
    let earlier = standing(&source).earlier;
    assert_eq!(earlier.len(), 1, "{earlier:?}");
    for n in 3..40 {
        repo.write(PATH, &file(&format!("web:{n}")));
        repo.commit("one of many");
    }
    repo.push();
    source.fetch().await.expect("it moved on by many");
    assert_eq!((commit_of(&source), image_of(&source).await), (repo.head(), "web:39".to_owned()));
    source.fetch().await.expect("nothing new");
    assert_eq!(commit_of(&source), repo.head());
    let told = repo.git(&["rev-list", "--skip=1", "--max-count=20", "HEAD"]);
    let earlier = standing(&source).earlier;
    let earlier: Vec<&str> = earlier.iter().map(|commit| commit.as_str()).collect();
    assert_eq!(earlier, told.lines().collect::<Vec<_>>());
}

/// The clocks of those who commit are not ours: a branch whose commits are older than
/// what is followed is followed all the same.
#[tokio::test]
async fn what_descends_is_followed_whatever_its_dates_say() {
    let (repo, source) = fetched("web:1").await;
    repo.write(PATH, &file("web:2"));
    repo.git(&["add", "--all"]);
    let date = "--date=2001-01-01T00:00:00Z";
    run(crate::rig::repo::git()
        .current_dir(repo.work())
        .env("GIT_COMMITTER_DATE", "2001-01-01T00:00:00Z")
        .args(["commit", "--quiet", date, "--message", "of another age"]));
    repo.push();
    source.fetch().await.expect("it descends");
    assert_eq!(image_of(&source).await, "web:2");
    repo.publish(PATH, &file("web:3"));
    source.fetch().await.expect("it descends");
    assert_eq!(image_of(&source).await, "web:3");
}

#[tokio::test]
async fn merges_of_branches_that_are_older_are_followed() {
    let repo = Repo::new();
    repo.publish(PATH, &file("web:1"));
    repo.publish("README", "one");
    repo.git(&["branch", "side", "HEAD~1"]);
    let source = open(&repo).await;
    source.fetch().await.expect("the remote is there");
    for n in 2..5 {
        // From before what is followed, into a branch that went on meanwhile.
        repo.git(&["checkout", "--quiet", "side"]);
        repo.write(PATH, &file(&format!("web:{n}")));
        repo.commit("on the side");
        repo.git(&["checkout", "--quiet", "main"]);
        repo.write("README", &format!("{n}"));
        repo.commit("meanwhile");
        repo.git(&["merge", "--quiet", "--no-edit", "side"]);
        repo.push();
        source.fetch().await.expect("a merge descends");
        assert_eq!(commit_of(&source), repo.head());
        assert_eq!(image_of(&source).await, format!("web:{n}"));
    }
}

#[tokio::test]
async fn rewritten_history_is_paused_and_said_until_it_descends_again() {
    let (repo, source) = fetched("web:1").await;
    let first = repo.publish(PATH, &file("web:2"));
    source.fetch().await.expect("it moved on");
    repo.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    repo.write(PATH, &file("web:evil"));
    let second = repo.commit("rewritten");
    repo.push_force();
    for _ in 0..2 {
        let error = source.fetch().await.expect_err("it is not followed");
        assert!(matches!(error, FetchError::Rewritten { .. }), "{error}");
        assert_eq!(
            (commit_of(&source), image_of(&source).await),
            (first.clone(), "web:2".to_owned())
        );
        let trouble = standing(&source).trouble.expect("it is said");
        for part in [&first[..7], &second[..7], "--allow-force", "push a commit"] {
            assert!(trouble.contains(part), "{trouble}");
        }
    }
    // A restart asks again, and judges the same.
    drop(source);
    let source = open(&repo).await;
    source.fetch().await.expect_err("it is not followed");
    assert_eq!(image_of(&source).await, "web:2");
    // Pushed back and moved on, all is well again.
    repo.git(&["reset", "--quiet", "--hard", &first]);
    repo.write(PATH, &file("web:3"));
    repo.commit("on top of what is followed");
    repo.push_force();
    source.fetch().await.expect("it descends");
    assert_eq!((image_of(&source).await, standing(&source).trouble), ("web:3".to_owned(), None));
}

#[tokio::test]
async fn a_reset_to_an_earlier_commit_is_no_way_forward() {
    let (repo, source) = fetched("web:1").await;
    repo.publish(PATH, &file("web:2"));
    source.fetch().await.expect("it moved on");
    repo.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    repo.push_force();
    source.fetch().await.expect_err("it went back");
    assert_eq!(image_of(&source).await, "web:2");
    // While a revert, which is a commit of its own, is.
    repo.git(&["reset", "--quiet", "--hard", "ORIG_HEAD"]);
    repo.git(&["revert", "--no-edit", "HEAD"]);
    repo.push_force();
    source.fetch().await.expect("a revert descends");
    assert_eq!(image_of(&source).await, "web:1");
}

#[tokio::test]
async fn rewritten_history_is_followed_where_that_is_allowed() {
    let (repo, source) = fetched("web:1").await;
    drop(source);
    let source = open_with(&repo, Options { rewritten: Rewritten::Follow, ..options(&repo) }).await;
    for n in 2..5 {
        repo.git(&["checkout", "--quiet", "--orphan", &format!("new-{n}")]);
        repo.write(PATH, &file(&format!("web:{n}")));
        repo.commit("from nothing");
        repo.push_force();
        source.fetch().await.expect("it is allowed");
        assert_eq!(
            (commit_of(&source), image_of(&source).await),
            (repo.head(), format!("web:{n}"))
        );
    }
}

#[tokio::test]
async fn the_copy_is_tidied() {
    let (repo, source) = fetched("web:0").await;
    // Each leaves some 40 objects by themselves.
    for round in 1..=15 {
        for n in 0..40 {
            repo.write(&format!("files/{n}"), &format!("{round} {n}"));
        }
        repo.publish(PATH, &file(&format!("web:{round}")));
        source.fetch().await.expect("it moved on");
    }
    assert_eq!(image_of(&source).await, "web:15");
    let folder = source.file();
    let folder = folder.ancestors().find(|it| it.ends_with("tree")).expect("the tree");
    let repository = folder.parent().expect("a folder").join("repository");
    let mut git = crate::rig::repo::git();
    let told = run(git.arg("--git-dir").arg(repository).args(["count-objects", "-v"]));
    let loose = told.lines().find_map(|line| line.strip_prefix("count: ")).expect("a count");
    assert!(loose.parse::<u32>().expect("a number") < 500, "{told}");
}

#[tokio::test]
async fn two_do_not_follow_with_one_copy() {
    let (repo, _source) = fetched("web:1").await;
    let second = GitSource::open(&super::state_dir(&repo), options(&repo)).await;
    assert!(matches!(second.err(), Some(RepositoryError::Held(_))));
}

#[tokio::test]
async fn what_is_no_branch_is_refused_at_once() {
    let repo = Repo::new();
    for branch in ["a..b", "", "with space", "a.lock"] {
        let options = Options { branch: branch.to_owned(), ..options(&repo) };
        let opened = GitSource::open(&super::state_dir(&repo), options).await;
        assert!(matches!(opened.err(), Some(RepositoryError::BadBranch(_))), "{branch}");
    }
}
