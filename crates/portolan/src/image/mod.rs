//! The built-in images: what `portolan image NAME` runs inside a container.

mod echo;
mod pause;

use std::ffi::OsString;
use std::process::ExitCode;

use portolan_node::agent::BuiltinImage;

/// The built-in images, as the node's agent is told of them.
pub fn builtin() -> Vec<BuiltinImage> {
    ["echo", "pause", "dns"]
        .map(|name| BuiltinImage {
            name: format!("portolan/{name}"),
            entrypoint: ["image", name].map(str::to_owned).into(),
            command: Vec::new(),
        })
        .into()
}

/// Runs the built-in image that `args` name; the arguments after `portolan image`.
///
/// Kept apart from the command line proper: a container that only waits shall cost neither a
/// parser nor a runtime.
pub fn run(args: &[OsString]) -> ExitCode {
    let (name, rest) = match args.split_first() {
        Some((name, rest)) => (name.to_string_lossy(), rest),
        None => return fail("which image? built in are echo, pause and dns"),
    };
    let result = match name.as_ref() {
        "pause" => pause::run(),
        "echo" => echo::run(rest),
        "dns" => {
            let arguments = [OsString::from("portolan"), OsString::from("dns")];
            return crate::cli::run(arguments.into_iter().chain(rest.iter().cloned()));
        }
        other => {
            return fail(&format!(
                "there is no built-in image {other:?}; built in are echo, pause and dns"
            ));
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{name}: {error:#}")),
    }
}

#[expect(clippy::print_stderr, reason = "a container's standard error is its log")]
fn fail(message: &str) -> ExitCode {
    eprintln!("portolan image: {message}");
    ExitCode::FAILURE
}
