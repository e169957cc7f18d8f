//! `cargo bench --bench flips`: what clients notice of flips, deploys, rollbacks
//! and killed replicas.
//!
//! A real Docker, a real Caddy, the built controller, and clients of seven
//! kinds: the counterpart of the tests for what is to be shown as numbers. It is
//! a command and not a test, since it asserts nothing: it prints what it counted,
//! as Markdown. What the columns mean: `benches/README.md`.

mod args;
mod phase;
mod stand;
mod table;

use clap::Parser;

use args::Args;
use stand::Stand;

fn main() {
    let args = Args::parse();
    println!("{}", table::LEGEND);
    for caddy in args.caddys() {
        for mechanism in &args.flip {
            let version = stand::version(&caddy);
            println!("\n### Caddy {version}, `flip: {mechanism}`");
            let mut stand = Stand::new(&caddy, *mechanism);
            for phase in args.phases() {
                eprintln!("Caddy {version}, {mechanism}: {phase} …");
                let measured = phase.measure(&mut stand);
                eprint!("{}", table::reasons(&measured));
                print!("\n{}", table::of(&phase, &measured));
            }
        }
    }
}
