//! The policy file of a host: text in, [`HostPolicy`] or a [`Report`] out.
//!
//! Read with the means of the desired-state file, so that its mistakes read alike:
//! every one at once, each with its line, column and mend. A key that is not known
//! is refused, because a rule that is misspelt would protect nobody; so is a key without
//! a value, which Compose takes for one that is not there.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::domain::{
    HostIdentity, HostPolicy,
    policy::{
        AllowedMount, ContainerRules, DigestRule, ImagePrefix, MountAccess, MountPlace, Permission,
    },
    signature::{SignatureRule, SigningKey},
};

use super::{
    AllowDeleteAll, Holds, Input, Report, Undecrypted, Unread, Vault, container,
    fields::{Fields, NO_REFUSALS, Refusals, refuse_name},
    mounts::resolved,
    reader::{Reader, Text},
    report::{Flaw, shown},
    yaml::{self, Entry, Map, Node, Span, Value},
};

const PREFIX_HELP: &str = "write a registry such as `registry.example.com`, with the beginning of a repository if only that is meant (`docker.io/library`), or `\"*\"` for everything";

/// What no desired-state file can ask for, so that no rule about it is needed.
const CONTAINER_REFUSALS: Refusals = Refusals {
    later: &[],
    never: &[
        ("privileged", "remove it: no desired-state file can ask for it"),
        ("host_pid", "remove it: no desired-state file can ask for it"),
        ("host_ipc", "remove it: no desired-state file can ask for it"),
        ("pid", "remove it: no desired-state file can ask for it"),
        ("ipc", "remove it: no desired-state file can ask for it"),
        ("devices", "remove it: no desired-state file can ask for any"),
    ],
};

/// A policy has no secrets.
struct NoVault;

impl Vault for NoVault {
    fn read(&self, _path: &Path, _holds: Holds) -> Result<Vec<u8>, Unread> {
        Err(Unread::Missing)
    }

    fn decrypt(&self, _encrypted: &[u8]) -> Result<Vec<u8>, Undecrypted> {
        Err(Undecrypted::NotAge)
    }
}

/// A policy file, and what it refers to.
pub struct PolicyInput<'a> {
    /// What reports call the file.
    pub file_name: &'a str,
    pub text: &'a [u8],
    /// The absolute folder of the file, against which the paths of keys resolve.
    pub base_dir: &'a Path,
    /// Reads a key's file by its absolute path.
    pub read_key: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

/// Reads a policy file.
///
/// # Errors
///
/// Everything that is wrong with the file, in the order of its lines.
pub fn parse_policy(policy: &PolicyInput<'_>) -> Result<HostPolicy, Report> {
    let host = HostIdentity::default();
    let input = &Input {
        file_name: policy.file_name,
        text: policy.text,
        variables: &|_| None,
        read_file: policy.read_key,
        vault: &NoVault,
        base_dir: policy.base_dir,
        allow_delete_all: AllowDeleteAll::No,
        host: &host,
        policy: None,
    };
    let source = match super::readable(input.text) {
        Ok(source) => source,
        Err(flaw) => return Err(Report::new(input.file_name, "", None, vec![flaw])),
    };
    let is_said = |line: &str| !line.trim().is_empty() && !line.trim().starts_with('#');
    if !source.lines().any(is_said) {
        let help = "write the rules that are wanted; `images: {}` says that there are none";
        let flaw = Flaw::new(Span { start: 0, end: 0 }, "the policy has no rules", help);
        return Err(Report::new(input.file_name, source, None, vec![flaw]));
    }
    let mut flaws = Vec::new();
    let Some(tree) = yaml::read(source, &mut flaws) else {
        return Err(Report::new(input.file_name, source, None, flaws));
    };
    let mut reader = Reader::new(input, source, flaws);
    let policy = read(&mut reader, &tree);
    let flaws = reader.into_flaws();
    match policy {
        Some(policy) if flaws.is_empty() => Ok(policy),
        Some(_) | None => Err(Report::new(input.file_name, source, Some(&tree), flaws)),
    }
}

fn read(reader: &mut Reader<'_>, tree: &Node) -> Option<HostPolicy> {
    let map = reader.map(tree, "a map with `images:` or `containers:`")?;
    let mut fields = Fields::of(map);
    let mut policy =
        HostPolicy { file: reader.input.file_name.to_owned(), ..HostPolicy::default() };
    if let Some(entry) = fields.get_or_null("images") {
        read_images(reader, &entry.value, &mut policy);
    }
    if let Some(entry) = fields.get_or_null("containers") {
        policy.containers = read_containers(reader, &entry.value);
    }
    fields.finish(reader, &NO_REFUSALS);
    Some(policy)
}

fn read_images(reader: &mut Reader<'_>, node: &Node, policy: &mut HostPolicy) {
    let Some(map) = reader.map(node, "a map with `allowed:`, `digest:` or `signed:`") else {
        return;
    };
    let mut fields = Fields::of(map);
    policy.allowed_images = fields.get_or_null("allowed").map(|it| read_prefixes(reader, it));
    policy.digest =
        match fields.get_or_null("digest").map(|it| choice(reader, it, ["required", "optional"])) {
            Some(Some(0)) => DigestRule::Required,
            Some(Some(_) | None) | None => DigestRule::Optional,
        };
    let signed = fields.get_or_null("signed");
    fields.finish(reader, &NO_REFUSALS);
    let Some(signed) = signed else { return };
    read_signed(reader, signed, policy);
    let covers_all = policy.signatures.iter().any(|rule| rule.images == ImagePrefix::Everything);
    if policy.allowed_images.is_none() && !covers_all {
        let message = "without `allowed:`, an image from anywhere else would need no signature";
        let help = "add `allowed:` with the registries that may be used, or `allowed: [\"*\"]` if that is meant";
        reader.refuse(signed.key_span, message, help);
    }
}

fn read_prefixes(reader: &mut Reader<'_>, entry: &Entry) -> Vec<ImagePrefix> {
    let texts = reader.texts(&entry.value, "a list of registries");
    texts.iter().filter_map(|text| prefix(reader, text)).collect()
}

fn prefix(reader: &mut Reader<'_>, text: &Text) -> Option<ImagePrefix> {
    match text.value.parse() {
        Ok(prefix) => Some(prefix),
        Err(reason) => {
            reader.refuse_text(text, "a registry", reason, PREFIX_HELP);
            None
        }
    }
}

fn read_signed(reader: &mut Reader<'_>, entry: &Entry, policy: &mut HostPolicy) {
    let example = "a list such as `[{ images: registry.example.com, keys: [ci.pub] }]`";
    let Some(items) = reader.list(&entry.value, example).map(<[_]>::to_vec) else { return };
    if items.is_empty() {
        reader.refuse(
            entry.key_span,
            "no image has to be signed",
            "remove `signed:`, or add a rule",
        );
    }
    for item in &items {
        let Some(map) = reader.map(item, "a map with `images:` and `keys:`") else { continue };
        read_rule(reader, item, map, policy);
    }
}

fn read_rule(reader: &mut Reader<'_>, item: &Node, map: &Map, policy: &mut HostPolicy) {
    let mut fields = Fields::of(map);
    let images = fields.get_or_null("images");
    let keys = fields.get_or_null("keys");
    fields.finish(reader, &NO_REFUSALS);
    for (key, entry) in [("images", images), ("keys", keys)] {
        if entry.is_none() {
            let help = "a rule is `{ images: registry.example.com, keys: [ci.pub] }`";
            reader.refuse(item.span, format!("this rule has no `{key}`"), help);
        }
    }
    let (Some(images), Some(keys)) = (images, keys) else { return };
    let keys = read_keys(reader, keys, &mut policy.key_files);
    for text in reader.text_or_texts(&images.value, "a registry, or a list of them") {
        let Some(images) = prefix(reader, &text) else { continue };
        if policy.signatures.iter().any(|rule| rule.images == images) {
            let message = format!("there is a rule for `{images}` already");
            reader.refuse(text.span, message, "write all keys into one rule: any of them will do");
            continue;
        }
        policy.signatures.push(SignatureRule { images, keys: keys.clone() });
    }
}

fn read_keys(reader: &mut Reader<'_>, entry: &Entry, files: &mut Vec<PathBuf>) -> Vec<SigningKey> {
    let texts = reader.text_or_texts(&entry.value, "a public key's file, or a list of them");
    let is_empty = matches!(&entry.value.value, Value::List(items) if items.is_empty());
    if is_empty {
        reader.refuse(entry.key_span, "without a key nothing could ever be signed", "name a key");
    }
    let mut keys = Vec::new();
    for text in texts {
        keys.extend(read_key(reader, &text, files));
    }
    keys
}

fn read_key(reader: &mut Reader<'_>, text: &Text, files: &mut Vec<PathBuf>) -> Option<SigningKey> {
    let help = "name a file that `cosign generate-key-pair` or `cosign public-key` wrote, or put its text here";
    if text.value.contains("-----") {
        let name = "a key in the policy";
        return SigningKey::from_pem(name, &text.value)
            .map_err(|reason| reader.refuse(text.span, reason.to_string(), help))
            .ok();
    }
    let path = resolved(&reader.input.base_dir.join(&text.value));
    files.push(path.clone());
    let name = text.shown();
    let read = match (reader.input.read_file)(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = format!("the key `{name}` cannot be read: {error}");
            reader.refuse(text.span, message, help);
            return None;
        }
    };
    SigningKey::from_pem(&text.value, &String::from_utf8_lossy(&read))
        .map_err(|reason| reader.refuse(text.span, format!("`{name}`: {reason}"), help))
        .ok()
}

fn read_containers(reader: &mut Reader<'_>, node: &Node) -> ContainerRules {
    let mut rules = ContainerRules::default();
    let Some(map) = reader.map(node, "a map such as `{ docker_socket: forbidden }`") else {
        return rules;
    };
    let mut fields = Fields::of(map);
    rules.bind_mounts = fields.get_or_null("bind_mounts").map(|it| read_mounts(reader, it));
    rules.docker_socket = permission(reader, fields.get_or_null("docker_socket"));
    rules.host_network = permission(reader, fields.get_or_null("host_network"));
    if let Some(entry) = fields.get_or_null("cap_add") {
        let names = container::read_capabilities(reader, Some(entry)).into_iter();
        let bare = |name: String| name.strip_prefix("CAP_").map(str::to_owned).unwrap_or(name);
        rules.cap_add = Some(names.map(bare).collect());
    }
    if let Some(entry) = fields.get_or_null("security_opt") {
        let texts = reader.texts(&entry.value, "a list of options");
        rules.security_opt = Some(texts.into_iter().map(|text| text.value).collect());
    }
    fields.finish(reader, &CONTAINER_REFUSALS);
    rules
}

fn read_mounts(reader: &mut Reader<'_>, entry: &Entry) -> Vec<AllowedMount> {
    let texts = reader.texts(&entry.value, "a list of folders");
    texts.iter().filter_map(|text| read_mount(reader, text)).collect()
}

fn read_mount(reader: &mut Reader<'_>, text: &Text) -> Option<AllowedMount> {
    let (path, access) = match text.value.strip_suffix(":ro") {
        Some(path) => (path, MountAccess::ReadOnly),
        None => (text.value.as_str(), MountAccess::ReadWrite),
    };
    let place = match path {
        "." | "./" => MountPlace::BesideTheFile,
        path if path.starts_with('/') && !path.contains(':') => {
            MountPlace::Path(resolved(Path::new(path)))
        }
        _ => {
            let reason = format!("`{}` is not a folder of this host", text.shown());
            let help = "write an absolute path, `./` for the folder of the desired-state file, and `:ro` after either for read-only";
            reader.refuse_text(text, "a folder of this host", reason, help);
            return None;
        }
    };
    Some(AllowedMount { place, access })
}

fn permission(reader: &mut Reader<'_>, entry: Option<&Entry>) -> Permission {
    match entry.map(|it| choice(reader, it, ["forbidden", "allowed"])) {
        Some(Some(0)) => Permission::Forbidden,
        Some(Some(_) | None) | None => Permission::Allowed,
    }
}

/// Returns which of two words stands there.
fn choice(reader: &mut Reader<'_>, entry: &Entry, words: [&str; 2]) -> Option<usize> {
    let help = format!("write `{}` or `{}`", words[0], words[1]);
    let text = reader.text(&entry.value, &format!("`{}` or `{}`", words[0], words[1]))?;
    let found = words.iter().position(|word| *word == text.value);
    if found.is_none() {
        let message = format!("`{}` is neither", shown(&text.shown()));
        refuse_name(reader, text.span, message, &text.value, words.into_iter(), help);
    }
    found
}
