//! What servers on Node have in common: packages from npm, in the folder of the server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::Setup;

/// The oldest major version of Node that the packages here run on.
const MIN_NODE: u32 = 20;

/// A server on Node: a folder with `server.js`, `package.json` and its lock.
#[derive(Debug)]
pub(super) struct Node {
    /// Under `peers/`.
    folder: &'static str,
    package_json: &'static str,
    /// Once it is ready.
    home: Option<PathBuf>,
    version: Option<String>,
}

impl Node {
    pub(super) fn new(folder: &'static str, package_json: &'static str) -> Self {
        Node { folder, package_json, home: None, version: None }
    }

    /// "Node v20.20.2, ws 8.23.0, ...": what was found, and the packages that it asks for.
    pub(super) fn versions(&self) -> String {
        let package: Value = serde_json::from_str(self.package_json).unwrap_or_default();
        let packages = package["dependencies"].as_object().into_iter().flatten();
        let mut parts = vec![format!("Node {}", self.version.as_deref().unwrap_or("(not looked for yet)"))];
        parts.extend(packages.map(|(name, version)| format!("{name} {}", version.as_str().unwrap_or("?"))));
        parts.join(", ")
    }

    /// Installs the packages, unless what is there is of this Node and these files: then it is left alone.
    pub(super) fn prepare(&mut self, home: &Path) -> anyhow::Result<()> {
        let folder = home.join("peers").join(self.folder);
        let version = version()?;
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        let want = format!("{version}\n{}{}", read("package.json")?, read("package-lock.json")?);
        let contents = folder.join("node_modules/.contents");
        if fs::read_to_string(&contents).ok().as_ref() != Some(&want) {
            let mut npm = Command::new("npm");
            npm.args(["ci", "--loglevel=error", "--no-audit", "--no-fund"]).current_dir(&folder);
            let done = npm.output().context("npm is missing; install Node with npm (https://nodejs.org)")?;
            if !done.status.success() {
                let said = String::from_utf8_lossy(&done.stderr);
                bail!("`npm ci` in {} failed: {}", folder.display(), said.trim());
            }
            fs::write(&contents, want).with_context(|| contents.display().to_string())?;
        }
        (self.home, self.version) = (Some(folder), Some(version));
        Ok(())
    }

    /// `node server.js SETUP`.
    pub(super) fn command(&self, setup: &Setup) -> anyhow::Result<Command> {
        let home = self.home.as_ref().context("it was not prepared")?;
        let setup = json!({ "port": setup.port, "pingMs": setup.ping_ms, "bodyBytes": setup.body_bytes });
        let mut command = Command::new("node");
        // Node raises its limit of descriptors by itself.
        command.arg(home.join("server.js")).arg(setup.to_string()).env("NODE_ENV", "production");
        Ok(command)
    }
}

/// As in "v20.20.2".
fn version() -> anyhow::Result<String> {
    let wanted = format!("install Node {MIN_NODE} or newer (https://nodejs.org)");
    let found = match Command::new("node").arg("--version").output() {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("node is missing; {wanted}"),
        Err(error) => return Err(error).context("node"),
    };
    let version = String::from_utf8_lossy(&found.stdout).trim().to_string();
    let major = version.strip_prefix('v').and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    let major = major.with_context(|| format!("`node --version` says {version:?}"))?;
    ensure!(major >= MIN_NODE, "Node {version} is too old; {wanted}");
    Ok(version)
}
