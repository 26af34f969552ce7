//! The server as a process of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub struct Program {
    pub child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
    reading: Option<JoinHandle<()>>,
}

/// The program with these arguments, not started.
pub fn command(arguments: &[&str]) -> Command {
    command_of(Path::new(env!("CARGO_BIN_EXE_tagwire-server")), arguments)
}

/// An example of this package that is a server, as it was built with this test; on a free port.
pub fn command_of_example(name: &str, arguments: &[&str]) -> Command {
    program_of_example(name, &[&["--listen", "127.0.0.1:0"], arguments].concat())
}

/// An example of this package, as it was built with this test.
pub fn program_of_example(name: &str, arguments: &[&str]) -> Command {
    let this = std::env::current_exe().unwrap();
    let program = this.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(program.exists(), "{} is not built: cargo build -p tagwire-server --examples", program.display());
    command_of(&program, arguments)
}

/// A program that is such a server, with these arguments, not started.
pub fn command_of(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    // The caller's settings are not the test's.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TAGWIRE_")) {
        command.env_remove(name);
    }
    // Nor is a tagwire.toml that lies where the tests run.
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// CPU time in a `stat` file of a process or thread (proc(5): user and system), clock ticks of 10 ms.
pub fn cpu_ticks(stat: &str) -> u64 {
    let stat = std::fs::read_to_string(stat).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<_> = fields.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Runs to the end; exit code, standard output, standard error.
pub fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

impl Program {
    /// Starts on a free port and waits until it is up.
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(command(&[&["--listen", "127.0.0.1:0"], arguments].concat()))
    }

    /// The same, with so many descriptors and never more.
    pub fn start_with_descriptors(descriptors: u32, arguments: &[&str]) -> Self {
        let program = command(&[&["--listen", "127.0.0.1:0"], arguments].concat());
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"")]);
        shell.arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::spawn(shell)
    }

    /// Starts and waits until it is up.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it never came up: {}", log.lock().unwrap());
            log.lock().unwrap().push_str(&line);
            if let Some((_, address)) = line.split_once("server up on ") {
                // As JSON, a quote follows.
                break address.split('"').next().unwrap_or_default().trim().parse().unwrap();
            }
        };
        let reading = std::thread::spawn({
            let log = Arc::clone(&log);
            move || {
                for line in lines.lines().map_while(Result::ok) {
                    log.lock().unwrap().push_str(&(line + "\n"));
                }
            }
        });
        Program { child, address, log, reading: Some(reading) }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The system's numbers of its threads.
    pub fn threads(&self) -> Vec<u32> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        tasks.map(|task| task.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Its CPU time so far, clock ticks.
    pub fn cpu_ticks(&self) -> u64 {
        cpu_ticks(&format!("/proc/{}/stat", self.child.id()))
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// What it counts now, all that is not zero, by name with labels.
    pub fn counted(&self) -> BTreeMap<String, f64> {
        const MARK: &str = "counted: ";
        let from = self.log.lock().unwrap().len();
        self.signal(Signal::USR1);
        let start = Instant::now();
        loop {
            let log = self.log.lock().unwrap();
            if let Some((_, rest)) = log[from..].split_once(MARK)
                && let Some((line, _)) = rest.split_once('\n')
            {
                // A label's value may have spaces.
                let entries = line.trim_start_matches("tagwire_").split(" tagwire_");
                let entries = entries.filter_map(|entry| entry.rsplit_once('='));
                return entries
                    .map(|(name, value)| (format!("tagwire_{name}"), value.parse().unwrap()))
                    .collect();
            }
            drop(log);
            assert!(start.elapsed() < Duration::from_secs(10), "it does not say what it counts");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until these have these values.
    pub fn wait_for_counts(&self, wanted: &[(&str, f64)]) {
        let start = Instant::now();
        loop {
            let counted = self.counted();
            let is = |name: &str| counted.get(name).copied().unwrap_or(0.0);
            if wanted.iter().all(|(name, value)| is(name) == *value) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "not {wanted:?} but {counted:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Resident memory now and at its peak, KiB (proc(5)).
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kib = |name: &str| {
            let (_, value) = status.split_once(name).unwrap();
            value.split_whitespace().next().unwrap().parse().unwrap()
        };
        (kib("VmRSS:"), kib("VmHWM:"))
    }

    /// The peak begins anew.
    pub fn reset_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    /// Waits until a line of the log has the text; returns the log as it is then.
    pub fn wait_for_log(&self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let log = self.log.lock().unwrap().clone();
            if log.contains(text) {
                return log;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "no {text:?} in\n{log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end; the status and the whole log, standard output too.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "it does not stop");
            std::thread::sleep(Duration::from_millis(10));
        };
        self.reading.take().unwrap().join().unwrap();
        let mut log = self.log.lock().unwrap().clone();
        self.child.stdout.take().unwrap().read_to_string(&mut log).unwrap();
        (status, log)
    }

    pub fn stop(self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Only a test that failed comes here with the program still running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
