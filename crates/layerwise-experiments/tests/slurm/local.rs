//! A Slurm of one host for the length of a test: no systemd, nothing outside its folder, and 127.0.0.1 alone.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The daemons in the order of their start.
const DAEMONS: [&str; 3] = ["munged", "slurmctld", "slurmd"];

pub(crate) struct Slurm {
    folder: TempDir,
    running: Vec<Child>,
}

/// Where a program is: daemons often lie beside the path.
fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// What is there of a text that a program prints.
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Slurm {
    /// The first of its programs that is not installed.
    pub(crate) fn missing() -> Option<&'static str> {
        ["sbatch", "squeue", "scontrol", "scancel"]
            .into_iter()
            .chain(DAEMONS)
            .find(|name| found(name).is_none())
    }

    /// Starts it, and waits until its node takes jobs.
    pub(crate) fn start() -> Self {
        // Sockets' paths are short.
        let folder = tempfile::Builder::new().prefix("layerwise-slurm").tempdir_in("/tmp").unwrap();
        let slurm = Self { folder, running: Vec::new() };
        slurm.configure();
        let mut slurm = slurm;
        let socket = slurm.path("munge.socket");
        let munged = [
            format!("--socket={}", socket.display()),
            format!("--key-file={}", slurm.path("munge.key").display()),
            format!("--pid-file={}", slurm.path("munge.pid").display()),
            format!("--seed-file={}", slurm.path("munge.seed").display()),
        ];
        slurm.launch(
            "munged",
            Command::new("munged").args(["--foreground", "--force"]).args(munged),
        );
        let mut probe = Command::new("munge");
        probe
            .arg("--no-input")
            .arg("--socket")
            .arg(&socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        slurm.until("munged answers", |_| probe.status().is_ok_and(|status| status.success()));
        slurm.launch("slurmctld", Command::new("slurmctld").arg("-D"));
        slurm.launch("slurmd", Command::new("slurmd").args(["-D", "-N", "localhost"]));
        slurm.until("the node is idle", |slurm| {
            printed(slurm.command("sinfo").args(["--noheader", "--format=%T"])) == "idle"
        });
        slurm
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self) {
        let mut key = [0; 128];
        File::open("/dev/urandom").unwrap().read_exact(&mut key).unwrap();
        fs::write(self.path("munge.key"), key).unwrap();
        fs::set_permissions(self.path("munge.key"), Permissions::from_mode(0o600)).unwrap();
        // Munge wants the folder of its socket to be open to all.
        fs::set_permissions(self.folder.path(), Permissions::from_mode(0o755)).unwrap();
        for name in ["state", "spool"] {
            fs::create_dir(self.path(name)).unwrap();
        }
        // Both are held until both are known.
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [controller, node] = ports.map(|port| port.local_addr().unwrap().port());
        let user = printed(Command::new("id").arg("-un"));
        let at = self.folder.path().display();
        let config = format!(
            "ClusterName=layerwise\n\
             SlurmctldHost=localhost(127.0.0.1)\n\
             SlurmctldPort={controller}\n\
             SlurmdPort={node}\n\
             # Listen on the address above, and on no other.\n\
             CommunicationParameters=NoCtldInAddrAny,NoInAddrAny\n\
             SlurmUser={user}\n\
             SlurmdUser={user}\n\
             AuthType=auth/munge\n\
             CredType=cred/munge\n\
             # A job that is requeued waits until its credential has expired.\n\
             AuthInfo=socket={at}/munge.socket,cred_expire=5\n\
             StateSaveLocation={at}/state\n\
             SlurmdSpoolDir={at}/spool\n\
             SlurmctldPidFile={at}/slurmctld.pid\n\
             SlurmdPidFile={at}/slurmd.pid\n\
             SlurmctldLogFile={at}/slurmctld.log\n\
             SlurmdLogFile={at}/slurmd.log\n\
             MailProg=/bin/true\n\
             ProctrackType=proctrack/linuxproc\n\
             TaskPlugin=task/none\n\
             JobAcctGatherType=jobacct_gather/none\n\
             AccountingStorageType=accounting_storage/none\n\
             MpiDefault=none\n\
             SchedulerType=sched/builtin\n\
             SchedulerParameters=batch_sched_delay=0,sched_interval=1\n\
             SelectType=select/cons_tres\n\
             SelectTypeParameters=CR_CPU\n\
             ReturnToService=2\n\
             KillWait=2\n\
             MinJobAge=600\n\
             # As many processors as the tests want, whatever the machine has.\n\
             SlurmdParameters=config_overrides\n\
             NodeName=localhost NodeAddr=127.0.0.1 CPUs=4 RealMemory=1000 State=UNKNOWN\n\
             PartitionName=tests Nodes=localhost Default=YES MaxTime=INFINITE State=UP\n"
        );
        fs::write(self.path("slurm.conf"), config).unwrap();
    }

    fn launch(&mut self, name: &str, command: &mut Command) {
        let program = found(command.get_program().to_str().unwrap()).unwrap();
        let log = File::create(self.path(&format!("{name}.out"))).unwrap();
        let child = Command::new(program)
            .args(command.get_args())
            .env("SLURM_CONF", self.path("slurm.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            // What interrupts the tests at a terminal is not for the daemons, which are stopped in order.
            .process_group(0)
            .spawn()
            .unwrap();
        self.running.push(child);
    }

    /// A program that speaks with this Slurm.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", self.path("slurm.conf")).stdin(Stdio::null());
        command
    }

    /// Runs a program of Slurm's, which must succeed.
    pub(crate) fn tell(&self, program: &str, arguments: &[&str]) -> String {
        let output: Output = self.command(program).args(arguments).output().unwrap();
        let (out, err) = (output.stdout.as_slice(), output.stderr.as_slice());
        let [out, err] = [out, err].map(|text| String::from_utf8_lossy(text).into_owned());
        assert!(output.status.success(), "{program} {arguments:?}: {out}{err}");
        out
    }

    /// The state of a job, or of a task of an array.
    pub(crate) fn state(&self, id: &str) -> String {
        let arguments = ["--noheader", "--array", "--states=all", "--format=%i %T", "--jobs", id];
        let lines = printed(self.command("squeue").args(arguments));
        let of_id = |line: &str| line.strip_prefix(id)?.strip_prefix(' ').map(str::to_owned);
        lines.lines().find_map(of_id).unwrap_or_default()
    }

    /// Waits for something, for two minutes at most.
    pub(crate) fn until(&mut self, what: &str, mut happens: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !happens(self) {
            assert!(
                start.elapsed() < Duration::from_secs(120),
                "not within 120 s: {what}{}",
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The ends of all logs, for a test that fails.
    fn logs(&self) -> String {
        let end = |name: &str| {
            let text = fs::read_to_string(self.path(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(15).collect();
            let lines: Vec<&str> = lines.into_iter().rev().collect();
            format!("\n---- {name}\n{}", lines.join("\n"))
        };
        let names = ["munged.out", "slurmctld.out", "slurmctld.log", "slurmd.out", "slurmd.log"];
        names.map(end).concat()
    }

    /// The process of a running batch script.
    pub(crate) fn process_of(&self, id: &str) -> Option<u32> {
        // Other programs know a task of an array by its own job's number.
        let job = printed(self.command("squeue").args(["--noheader", "--format=%A", "--jobs", id]));
        let lines = printed(self.command("scontrol").args(["listpids", &job]));
        let of_script = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words.get(2) == Some(&"batch")).then(|| words[0].parse().ok())?
        };
        lines.lines().find_map(of_script)
    }
}

/// Sends a signal. The shell's own `kill`: the program of that name is not everywhere.
pub(crate) fn signal(process: u32, signal: &str) {
    let kill = format!("kill -{signal} {process}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

impl Drop for Slurm {
    /// Stops all jobs, which would outlive the daemons, and then those.
    fn drop(&mut self) {
        let run = |command: &mut Command| {
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        };
        if self.running.len() == DAEMONS.len() {
            run(self.command("scancel").args(["--partition", "tests"]));
            for _ in 0..50 {
                let listed = self.command("squeue").arg("--noheader").output();
                if listed.is_ok_and(|listed| listed.stdout.is_empty()) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        for mut daemon in self.running.drain(..).rev() {
            run(Command::new("sh").args(["-c", &format!("kill -TERM {}", daemon.id())]));
            for _ in 0..50 {
                if daemon.try_wait().is_ok_and(|ended| ended.is_some()) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// Whether a folder is there that holds something.
pub(crate) fn holds_something(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}
