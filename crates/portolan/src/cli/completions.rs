use clap::CommandFactory;
use clap_complete::Shell;

/// Prints a completion script for a shell
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut command = super::Cli::command();
    clap_complete::generate(args.shell, &mut command, "portolan", &mut std::io::stdout());
    Ok(())
}
