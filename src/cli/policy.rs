//! `quaymaster policy check`: would a host with this policy let the file in?

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use super::{
    args::{Globals, Output, PolicyCheckArgs},
    error::CommandError,
    exit::Exit,
    in_force::source,
    print,
};
use crate::{
    domain::{HostPolicy, ImageRef, Service, Stack, manifest::AllowDeleteAll},
    ports::{Source, Verifier},
    signature::{self, Signatures},
};

/// How a look at one image's signature came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Looked {
    Signed {
        by: String,
    },
    /// The policy wants no signature of it.
    NotNeeded,
    /// A tag may mean another image by the time that a host resolves it.
    NamedByTag,
    Failed {
        why: String,
    },
}

/// Reads the file as a controller under the policy would, and looks for signatures if
/// that is wanted.
pub async fn check(globals: &Globals, args: &PolicyCheckArgs) -> Result<Exit, CommandError> {
    let policy = match globals.policy().read() {
        Ok(Some(policy)) => policy,
        Ok(None) => {
            let path = globals.policy().path().to_owned();
            return Err(CommandError::NoPolicy { path });
        }
        Err(problem) => return refused(globals, args, problem),
    };
    let (source, _) = source(globals, &args.file.file, AllowDeleteAll::Yes)?;
    // Their values are the host's, and no rule is about them.
    let stack = match source.without_secrets().load().await {
        Ok(stack) => stack,
        Err(problem) => return refused(globals, args, problem),
    };
    let looked = match args.signatures {
        true => look(&stack).await,
        false => BTreeMap::new(),
    };
    let is_fine = !looked.values().any(|looked| matches!(looked, Looked::Failed { .. }));
    match globals.output() {
        Output::Json => print::json(&json!({
            "valid": true, "file": args.file.file, "policy": policy.file, "stack": stack.name,
            "services": stack.services.keys().collect::<Vec<_>>(),
            "on_other_hosts": stack.on_other_hosts,
            "signatures": looked,
            "problem": null,
        }))?,
        Output::People => print::write(&told(args, &policy, &stack, &looked))?,
    }
    Ok(if is_fine { Exit::Done } else { Exit::Failed })
}

fn refused(
    globals: &Globals,
    args: &PolicyCheckArgs,
    problem: String,
) -> Result<Exit, CommandError> {
    match globals.output() {
        Output::Json => {
            print::json(&json!({
                "valid": false, "file": args.file.file, "policy": globals.policy().path(),
                "problem": problem,
            }))?;
            Ok(Exit::Wrong)
        }
        Output::People => Err(CommandError::File(problem)),
    }
}

async fn look(stack: &Stack) -> BTreeMap<ImageRef, Looked> {
    let verifier = Signatures::new(signature::Options::default());
    let mut looked = BTreeMap::new();
    let here = stack.services.values().filter(|service| service.upstreams.is_none());
    for image in here.flat_map(Service::images) {
        if !looked.contains_key(image) {
            looked.insert(image.clone(), look_at(&verifier, stack, image).await);
        }
    }
    looked
}

async fn look_at(verifier: &Signatures, stack: &Stack, image: &ImageRef) -> Looked {
    let is_wanted = stack.signatures.iter().any(|rule| rule.images.holds(image));
    let Some(digest) = image.digest() else {
        return if is_wanted { Looked::NamedByTag } else { Looked::NotNeeded };
    };
    let Some(wanted) = stack.signature_of(image, digest) else { return Looked::NotNeeded };
    match verifier.verify(&wanted).await {
        Ok(()) => Looked::Signed { by: wanted.signers() },
        Err(failure) => Looked::Failed { why: failure.message },
    }
}

fn told(
    args: &PolicyCheckArgs,
    policy: &HostPolicy,
    stack: &Stack,
    looked: &BTreeMap<ImageRef, Looked>,
) -> String {
    let file = args.file.file.display();
    let mut text = format!("{file} obeys {}: stack {}\n", policy.file, stack.name);
    for (image, looked) in looked {
        let line = match looked {
            Looked::Signed { by } => format!("  signed    {image}, by {by}"),
            Looked::NotNeeded => format!("  any       {image}, which needs no signature"),
            Looked::NamedByTag => {
                format!("  not seen  {image}: name it by its digest to have it looked at here")
            }
            Looked::Failed { why } => format!("  missing   {image}: {why}"),
        };
        text += &line;
        text.push('\n');
    }
    if args.signatures && !stack.on_other_hosts.is_empty() {
        let names: Vec<String> = stack.on_other_hosts.iter().map(ToString::to_string).collect();
        text += &format!(
            "  not seen  {}, of other hosts: --host-name and --host-label choose one\n",
            names.join(", ")
        );
    }
    text
}
