//! A stand-in until the real module lands: it refuses every file.

use std::{collections::BTreeMap, fmt, io, path::Path};

use super::Stack;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowDeleteAll {
    Yes,
    No,
}

pub struct Input<'a> {
    pub file_name: &'a str,
    pub text: &'a [u8],
    pub variables: &'a dyn Fn(&str) -> Option<String>,
    pub read_file: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    pub base_dir: &'a Path,
    pub allow_delete_all: AllowDeleteAll,
}

#[derive(Debug)]
pub struct Report(String);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub fn parse(input: &Input) -> Result<Stack, Report> {
    Err(Report(format!("{}: {}", input.file_name, String::from_utf8_lossy(input.text))))
}

pub fn read_env_file(text: &str) -> Result<BTreeMap<String, String>, String> {
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once('=').ok_or("a line without `=`")?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}
