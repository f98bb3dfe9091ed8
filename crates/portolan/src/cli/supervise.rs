/// Keeps a lab running; started by `lab up`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The lab's name.
    name: String,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    crate::lab::supervisor::run(&args.name)
}
