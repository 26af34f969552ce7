//! A proxy of bad networks for tests in any language. See `--help`.

mod program;

fn main() -> std::process::ExitCode {
    program::main()
}
