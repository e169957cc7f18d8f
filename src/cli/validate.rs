//! `quaymaster validate`: check the file, and nothing else.

use serde_json::json;

use super::{
    args::{Globals, Output, ValidateArgs},
    error::CommandError,
    exit::Exit,
    in_force::source,
    print,
};
use crate::{domain::manifest::AllowDeleteAll, ports::Source};

/// Reads the file as a controller would, and says what it declares.
pub async fn validate(globals: &Globals, args: &ValidateArgs) -> Result<Exit, CommandError> {
    // A file without services is well formed; whether it is meant is for `run`.
    let (source, path) = source(globals, &args.file.file, AllowDeleteAll::Yes)?;
    let source = if args.without_secrets { source.without_secrets() } else { source };
    match (source.load().await, globals.output()) {
        (Ok(stack), Output::Json) => {
            let services: Vec<_> = stack.services.keys().collect();
            print::json(&json!({
                "valid": true, "file": path, "stack": stack.name, "services": services,
                "on_other_hosts": stack.on_other_hosts,
                "problem": null,
            }))?;
            Ok(Exit::Done)
        }
        (Ok(stack), Output::People) => {
            let services = match stack.services.len() + stack.on_other_hosts.len() {
                1 => "1 service".to_owned(),
                count => format!("{count} services"),
            };
            let here = match stack.on_other_hosts.is_empty() {
                true => String::new(),
                false => format!(", {} for this host ({})", stack.services.len(), globals.host()),
            };
            let file = args.file.file.display();
            print::write(&format!("{file} is valid: stack {}, {services}{here}\n", stack.name))?;
            Ok(Exit::Done)
        }
        (Err(problem), Output::Json) => {
            print::json(&json!({ "valid": false, "file": path, "problem": problem }))?;
            Ok(Exit::Wrong)
        }
        (Err(problem), Output::People) => Err(CommandError::File(problem)),
    }
}
