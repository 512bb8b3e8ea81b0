//! The roof: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    goinit::cli::main()
}
