//! A tiny static program, and images `FROM scratch` that hold nothing else.

use std::{
    env, fs,
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use super::run;

/// It ends at SIGTERM unless it is told to be stubborn; its first argument says
/// what it does.
const SOURCE: &str = r#"
use std::{env, process::exit, thread::sleep, time::Duration};
unsafe extern "C" { fn signal(number: i32, handler: usize) -> usize; fn _exit(code: i32) -> !; }
extern "C" fn leave(_: i32) { unsafe { _exit(0) } }
fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|n| n.parse().ok()).unwrap_or(0);
    match arguments.first().map(String::as_str) {
        Some("say") => {
            for line in 1..=number(1) {
                if line % 2 == 1 { println!("line {line}") } else { eprintln!("line {line}") }
            }
        }
        Some("count") => (1..=number(1)).for_each(|line| println!("line {line}")),
        Some("exit") => exit(number(1) as i32),
        Some("stubborn") => loop { sleep(Duration::from_secs(60)) },
        Some("show") => {
            use std::os::unix::fs::MetadataExt;
            let (file, seen) = (&arguments[1], std::fs::metadata(&arguments[1]).unwrap());
            let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            let mount = mounts.lines().find(|m| m.split(' ').nth(4) == Some(file)).unwrap();
            let options = mount.split(' ').nth(5).unwrap().split(',').next().unwrap();
            let kind = mount.split(" - ").nth(1).unwrap().split(' ').next().unwrap();
            let content = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
            println!("{:o} {}:{} {options} {kind} {content}", seen.mode() & 0o7777, seen.uid(), seen.gid());
        }
        Some("env") => println!("{}", env::var(&arguments[1]).unwrap_or_default()),
        _ => {
            unsafe { signal(15, leave as *const () as usize) };
            println!("ready");
            loop { sleep(Duration::from_secs(60)) }
        }
    }
}
"#;

/// Makes an image of the program under this name, with these Dockerfile lines.
pub fn import_tiny(name: &str, changes: &[&str]) {
    let folder = program().parent().expect("a file stands in a folder");
    let mut tar = Command::new("tar")
        .args(["--create", "--file=-", "--owner=0", "--group=0", "-C"])
        .arg(folder)
        .arg("tiny")
        .stdout(Stdio::piped())
        .spawn()
        .expect("tar runs");
    let mut import = Command::new("docker");
    import.args(["import", "--change", r#"ENTRYPOINT ["/tiny"]"#]);
    for change in changes {
        import.args(["--change", change]);
    }
    run(import.args(["-", name]).stdin(tar.stdout.take().expect("it is piped")));
    assert!(tar.wait().expect("tar ends").success(), "tar failed");
}

/// Returns the program, built once for all test processes.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tiny-program");
        fs::create_dir_all(&folder).expect("the test's own folder is writable");
        // Tests run as processes of their own: one builds, the others wait for it.
        let turn = File::create(folder.join("lock")).expect("the folder is writable");
        turn.lock().expect("a file of ours can be locked");
        let (program, source) = (folder.join("tiny"), folder.join("tiny.rs"));
        let is_built = fs::read_to_string(&source).is_ok_and(|built| built == SOURCE);
        if !(is_built && program.exists()) {
            fs::remove_file(&program).ok();
            fs::write(&source, SOURCE).expect("the folder is writable");
            let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
            run(Command::new(rustc)
                .args(["--edition=2024", "-C", "opt-level=s", "-C", "strip=symbols"])
                .args(["-C", "target-feature=+crt-static", "-o"])
                .args([&program, &source]));
        }
        program
    })
}
