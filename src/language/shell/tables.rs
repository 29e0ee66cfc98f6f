//! The options of the programs that csync knows: which there are, and which take values. One that is missing here makes a call
//! unreadable, which is the safe side.
//!
//! A table is words: `n|ntasks=` is `-n N`, `-nN`, `--ntasks N` and `--ntasks=N`; without `=` a flag; `=?` a value that may
//! be missing and then stands in the same word; `==` two values.

/// The options of a program.
#[derive(Debug)]
pub(super) struct Table {
    options: &'static str,
    /// Names of several letters behind one dash, as `qsub` has them.
    pub(super) one_dash: bool,
    /// `-10` is an option, as `nice` has it.
    pub(super) digits: bool,
}

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    short: Option<char>,
    long: &'static str,
    /// How it is spelled in the table.
    token: &'static str,
    /// How many values follow.
    pub(super) values: usize,
    /// Whether it may have one all the same.
    pub(super) may: bool,
}

impl Spec {
    fn read(token: &'static str) -> Self {
        let (names, values, may) = if let Some(names) = token.strip_suffix("=?") {
            (names, 0, true)
        } else if let Some(names) = token.strip_suffix("==") {
            (names, 2, false)
        } else if let Some(names) = token.strip_suffix('=') {
            (names, 1, false)
        } else {
            (token, 0, false)
        };
        let (short, long) = names.split_once('|').unwrap_or((names, ""));
        Self { short: short.chars().next(), long, token: names, values, may }
    }

    /// Returns its name: the long one where it has one.
    pub(super) fn name(&self) -> &'static str {
        if self.long.is_empty() { self.token.trim_end_matches('|') } else { self.long }
    }
}

impl Table {
    pub(super) const fn new(options: &'static str) -> Self {
        Self { options, one_dash: false, digits: false }
    }

    pub(super) const fn one_dash(options: &'static str) -> Self {
        Self { options, one_dash: true, digits: false }
    }

    fn specs(&self) -> impl Iterator<Item = Spec> {
        self.options.split_ascii_whitespace().map(Spec::read)
    }

    pub(super) fn short(&self, letter: char) -> Option<Spec> {
        self.specs().find(|spec| spec.short == Some(letter))
    }

    /// Finds a long name; the beginning of one does where no other begins so, as `getopt_long` has it.
    pub(super) fn long(&self, name: &str) -> Option<Spec> {
        if name.is_empty() {
            return None;
        }
        if let Some(spec) = self.specs().find(|spec| spec.long == name) {
            return Some(spec);
        }
        let mut begins = self.specs().filter(|spec| !self.one_dash && spec.long.starts_with(name));
        let only = begins.next()?;
        begins.next().is_none().then_some(only)
    }
}

pub(super) static SSH: Table = Table::new(
    "4 6 A a C f G g K k M N n q s T t V v X x Y y B= b= c= D= E= e= F= I= i= J= L= l= m= O= o= P= p= Q= R= S= W= w=",
);

pub(super) static SCP: Table = Table::new("3 4 6 A B C O p q R r s T v c= D= F= i= J= l= o= P= S= X=");

pub(super) static SFTP: Table = Table::new("4 6 A a C f N p q r v B= b= c= D= F= i= J= l= o= P= R= S= s= X=");

pub(super) static RSYNC: Table = Table::new(
    "v|verbose q|quiet c|checksum a|archive r|recursive R|relative b|backup u|update d|dirs l|links L|copy-links k|copy-dirlinks \
     K|keep-dirlinks H|hard-links p|perms E|executability A|acls X|xattrs o|owner g|group D t|times O|omit-dir-times \
     J|omit-link-times U|atimes N|crtimes S|sparse n|dry-run W|whole-file x|one-file-system I|ignore-times C|cvs-exclude F \
     0|from0 s|protect-args 8|8-bit-output h|human-readable i|itemize-changes P y|fuzzy z|compress m|prune-empty-dirs V|version \
     4|ipv4 6|ipv6 e|rsh= f|filter= T|temp-dir= B|block-size= M|remote-option= \
     |no-motd |inplace |append |append-verify |mkpath |old-dirs |old-d |copy-unsafe-links |safe-links |munge-links |devices \
     |copy-devices |write-devices |specials |preallocate |existing |ignore-existing |ignore-non-existing |remove-source-files \
     |delete |del |delete-before |delete-during |delete-delay |delete-after |delete-excluded |ignore-missing-args \
     |delete-missing-args |ignore-errors |force |partial |delay-updates |numeric-ids |size-only |no-implied-dirs |fake-super \
     |super |stats |progress |list-only |open-noatime |stderr= |msgs2stderr |blocking-io |no-recursive |no-r |no-perms |no-p \
     |no-owner |no-o |no-group |no-g |no-times |no-t |no-links |no-l |no-compress |no-relative |no-R |no-whole-file |no-W \
     |no-inc-recursive |no-i-r |old-args |secluded-args |trust-sender |debug= |info= |backup-dir= |suffix= |chmod= |max-delete= \
     |max-size= |min-size= |max-alloc= |partial-dir= |usermap= |groupmap= |chown= |timeout= |contimeout= |modify-window= \
     |compare-dest= |copy-dest= |link-dest= |compress-choice= |zc= |compress-level= |zl= |skip-compress= |exclude= \
     |exclude-from= |include= |include-from= |files-from= |address= |port= |sockopts= |outbuf= |out-format= \
     |log-file= |log-file-format= |password-file= |early-input= |bwlimit= |stop-after= |stop-at= |write-batch= \
     |only-write-batch= |read-batch= |protocol= |iconv= |checksum-choice= |cc= |checksum-seed= |rsync-path= |fsync |help",
);

macro_rules! slurm {
    ($more:literal) => {
        Table::new(concat!(
            "A|account= |acctg-freq= |batch= |bb= |bbf= b|begin= B|extra-node-info= |cluster-constraint= M|clusters= \
             |comment= C|constraint= |container= |container-id= |contiguous S|core-spec= |cores-per-socket= |cpu-freq= \
             |cpus-per-gpu= c|cpus-per-task= |deadline= |delay-boot= d|dependency= D|chdir= e|error= x|exclude= \
             |exclusive=? |export= |export-file= |extra= |get-user-env=? |gid= |gpu-bind= |gpu-freq= G|gpus= \
             |gpus-per-node= |gpus-per-socket= |gpus-per-task= |gres= |gres-flags= h|help |hint= H|hold i|input= \
             J|job-name= |kill-on-invalid-dep= L|licenses= |mail-type= |mail-user= |mcs-label= |mem= |mem-bind= \
             |mem-per-cpu= |mem-per-gpu= |mincpus= |network= |nice=? k|no-kill=? F|nodefile= w|nodelist= N|nodes= n|ntasks= \
             |ntasks-per-core= |ntasks-per-gpu= |ntasks-per-node= |ntasks-per-socket= |oom-kill-step=? o|output= \
             O|overcommit s|oversubscribe p|partition= |power= |prefer= |priority= |profile= q|qos= Q|quiet |reboot \
             |reservation= |signal= |sockets-per-node= |spread-job |stepmgr |switches= |segment= |thread-spec= \
             |threads-per-core= t|time= |time-min= |tmp= |tres-bind= |tres-per-task= |uid= |usage |use-min-nodes \
             v|verbose V|version W |wckey= |x11=? |resv-ports=? ",
            $more
        ))
    };
}

pub(super) static SRUN: Table = slurm!(
    "E|preserve-env K|kill-on-bad-exit=? T|threads= l|label u|unbuffered X|disable-status Z|no-allocate \
     |accel-bind= |bcast=? |bcast-exclude= |compress=? |cpu-bind= m|distribution= |epilog= |exact |external |het-group= \
     I|immediate=? |interactive |jobid= |launch-cmd |mpi= |msg-timeout= |multi-prog |open-mode= |overlap |prolog= |propagate=? \
     |pty=? |quit-on-interrupt r|relative= |send-libs=? |slurmd-debug= |task-epilog= |task-prolog= |test-only |tree-width= \
     |treewidth= |wait= |whole |debugger-test"
);

pub(super) static SBATCH: Table = slurm!(
    "a|array= |ignore-pbs m|distribution= |open-mode= |parsable |propagate=? |requeue |no-requeue |test-only |wait |wrap= \
     |wait-all-nodes= |jobid="
);

pub(super) static SALLOC: Table = slurm!(
    "|bell |no-bell K|kill-command=? I|immediate=? m|distribution= |no-shell |wait-all-nodes= |jobid= |test-only"
);

/// PBS, Torque and Grid Engine at once: where they share a name, it takes as many values with each.
pub(super) static QSUB: Table = Table::one_dash(
    "a= A= b= c= C= e= F= f h= I J= j= k= l= L= M= m= N= o= P= p= q= r= R= S= t= u= V v= W= w= X x z \
     |ac= |adds== |ar= |binding= |ckpt= |clear |clearp= |clears= |cwd |dc= |display= |dl= |hard |help |hold_jid= |hold_jid_ad= \
     |inherit |js= |jc= |jsv= |mods== |notify |now= |pe== |par= |pty= |rou= |rdi= |shell= |scope= |soft |sync= |tc= |terse \
     |umask= |verbose |verify |version |wd= |nostdin |noshell |nolimit |@= |masterq= |masterl=",
);

pub(super) static BSUB: Table = Table::one_dash(
    "B H I K N r x U= Z h V q= n= W= M= R= J= o= e= P= w= g= m= u= a= E= i= f= L= S= D= F= C= c= T= v= G= b= t= k= p= \
     |oo= |eo= |Ip |Is |IS |ISp |ISs |IX |app= |sla= |cwd= |is= |ul |env= |hl |jsdl= |Ep= |Zs |gpu= |rn |rnc |ar |ti |tty \
     |sp= |network= |outdir= |pack= |json= |yaml= |data= |datagrp= |eptl= |freq= |jobpriority= |jsm= |smt= |stage= |ln_mem= \
     |alloc_flags= |core_isolation= |cn_cu= |cn_mem= |csm= |nnodes= |notify= |signal= |step_cgroup= |wa= |wt= |We= |Ne=",
);

pub(super) static DOCKER: Table = Table::new(
    "c|context= D|debug H|host= l|log-level= |config= |tls |tlscacert= |tlscert= |tlskey= |tlsverify v|version |help \
     |root= |runroot= |storage-driver= |storage-opt= |remote r |url= |connection= |identity= |cgroup-manager= |events-backend=",
);

pub(super) static DOCKER_RUN: Table = Table::new(
    "|add-host= |annotation= a|attach= |blkio-weight= |blkio-weight-device= |cap-add= |cap-drop= |cgroup-parent= |cgroupns= \
     |cidfile= c|cpu-shares= |cpu-count= |cpu-percent= |cpu-period= |cpu-quota= |cpu-rt-period= |cpu-rt-runtime= |cpus= \
     |cpuset-cpus= |cpuset-mems= d|detach |detach-keys= |device= |device-cgroup-rule= |device-read-bps= |device-read-iops= \
     |device-write-bps= |device-write-iops= |disable-content-trust=? |dns= |dns-option= |dns-opt= |dns-search= |domainname= \
     |entrypoint= e|env= |env-file= |expose= |gpus= |group-add= |health-cmd= |health-interval= |health-retries= \
     |health-start-interval= |health-start-period= |health-timeout= |help h|hostname= |init i|interactive |io-maxbandwidth= \
     |io-maxiops= |ip= |ip6= |ipc= |isolation= |kernel-memory= l|label= |label-file= |link= |link-local-ip= |log-driver= \
     |log-opt= |mac-address= m|memory= |memory-reservation= |memory-swap= |memory-swappiness= |mount= |name= |network= |net= \
     |network-alias= |net-alias= |no-healthcheck |oom-kill-disable |oom-score-adj= |pid= |pids-limit= |platform= |privileged \
     p|publish= P|publish-all |pull= q|quiet |read-only |restart= |rm |runtime= |security-opt= |shm-size= |sig-proxy=? \
     |stop-signal= |stop-timeout= |storage-opt= |sysctl= |tmpfs= t|tty |ulimit= |use-api-socket u|user= |userns= |uts= \
     v|volume= |volume-driver= |volumes-from= w|workdir= |arch= |os= |variant= |pod= |replace |rootfs |systemd= |tz= |umask= \
     |unsetenv= |unsetenv-all |secret= |passwd-entry= |pidfile= |preserve-fds= |hooks-dir= |authfile= |tls-verify=? |timeout=",
);

pub(super) static DOCKER_EXEC: Table = Table::new(
    "d|detach |detach-keys= e|env= |env-file= |help i|interactive |privileged t|tty u|user= w|workdir= l|latest |preserve-fds= |cidfile=",
);

pub(super) static APPTAINER: Table =
    Table::new("c|config= d|debug h|help |nocolor q|quiet s|silent v|verbose |version |build-config");

pub(super) static APPTAINER_RUN: Table = Table::new(
    "|add-caps= |allow-setuid |app= |apply-cgroups= |authfile= B|bind= |blkio-weight= |blkio-weight-device= e|cleanenv |compat \
     c|contain C|containall |cpu-shares= |cpus= |cpuset-cpus= |cpuset-mems= |cwd= |disable-cache |dns= |docker-host= \
     |docker-login |drop-caps= |env= |env-file= f|fakeroot |fusemount= h|help H|home= |hostname= i|ipc |keep-privs |memory= \
     |memory-reservation= |memory-swap= |mount= n|net |netns-path= |network= |network-args= |no-eval |no-home |no-https \
     |no-init |no-mount= |no-pid |no-privs |no-tmp-sandbox |no-umask |nv |nvccli |oom-kill-disable o|overlay= |passphrase \
     |pem-path= p|pid |pids-limit= |pwd= |rocm S|scratch= |security= |sharens |shell= s|syos |tmp-sandbox |underlay |unsquash \
     u|userns |uts |workdir= W= w|writable |writable-tmpfs |nohttps |vm |vm-cpu= |vm-err |vm-ip= |vm-ram= |allow-unsigned",
);

pub(super) static PARALLEL: Table = Table::new(
    "0|null a|arg-file= |arg-file-sep= |arg-sep= |bar |basefile= |bf= |bg |bibtex |block= |block-timeout= |bt= |cat \
     |cleanup |colsep= C= |compress |compress-program= |csv |ctag |ctagstring= |delay= d|delimiter= |dry-run |dryrun |eta E= \
     |fg |fifo |files |files0 |filter-hosts |filter= |gnu |group |halt= |header= |help h |hostgroups |hgrp I= |id= |ignore-missing \
     J|profile= j|jobs= P|max-procs= k|keep-order L= |max-lines=? l=? |limit= |line-buffer |lb |link |load= |latest-line |ll \
     X m |max-args= n= N|max-replace-args= |max-chars= s= |memfree= |memsuspend= |minversion= |nice= |no-notice \
     |nonall |onall |open-tty o |output-as-files |outputasfiles |part= |pipe |pipe-part |pipepart |plain |plus |process-slot-var= \
     |progress q|quote r|no-run-if-empty |record-env |recend= |recstart= |regexp |remove-rec-sep |rrs |results= |res= |resume \
     |resume-failed |retries= |retry-failed |return= |round-robin |round |rpl= |sem |semaphore |seqreplace= |session |shard= \
     |shebang |shellquote |shuf |silent |skip-first-line |sql= |sqlmaster= |sqlworker= |sqlandworker= |ssh= |sshdelay= \
     S|sshlogin= |sshloginfile= |slf= |tag |tagstring= |tee |template= |termseq= |timeout= |tmpdir= |tmpl= |total-jobs= \
     |transfer |transferfile= |tf= |trc= |trim= t|verbose u|ungroup |use-cpus-instead-of-cores V|version v |wait |wd= |workdir= \
     |willcite |will-cite x|exit |xapply |xargs |zero |joblog= i=? |replace=? |env= M |controlmaster",
);

pub(super) static SUDO: Table = Table::new(
    "A|askpass b|background B|bell C|close-from= D|chdir= E|preserve-env=? e|edit g|group= H|set-home h|host= i|login \
     K|remove-timestamp k|reset-timestamp l|list n|non-interactive N|no-update P|preserve-groups p|prompt= R|chroot= r|role= \
     S|stdin s|shell T|command-timeout= t|type= U|other-user= u|user= V|version v|validate |help",
);

pub(super) static DOAS: Table = Table::new("L n s a= C= u=");

pub(super) static ENV: Table = Table::new(
    "i|ignore-environment 0|null u|unset= C|chdir= S|split-string= v|debug a|argv0= |block-signal=? |default-signal=? \
     |ignore-signal=? |list-signal-handling |help |version",
);

pub(super) static TIMEOUT: Table =
    Table::new("|preserve-status |foreground p f k|kill-after= s|signal= v|verbose |help |version");

pub(super) static NOTHING: Table = Table::new("|help |version");

pub(super) static NICE: Table = Table { options: "n|adjustment= |help |version", one_dash: false, digits: true };

pub(super) static IONICE: Table = Table::new("c|class= n|classdata= p|pid= P|pgid= u|uid= t|ignore h|help V|version");

pub(super) static TIME: Table =
    Table::new("f|format= o|output= a|append p|portability v|verbose q|quiet V|version |help");

pub(super) static XARGS: Table = Table::new(
    "0|null a|arg-file= d|delimiter= E= e|eof=? I= i|replace=? L= l|max-lines=? n|max-args= P|max-procs= p|interactive \
     |process-slot-var= r|no-run-if-empty s|max-chars= |show-limits t|verbose x|exit o|open-tty |help |version",
);

pub(super) static STDBUF: Table = Table::new("i|input= o|output= e|error= |help |version");

pub(super) static SETSID: Table = Table::new("c|ctty f|fork w|wait h|help V|version");

pub(super) static EXEC: Table = Table::new("a= c l");

pub(super) static COMMAND: Table = Table::new("p v V");

pub(super) static WATCH: Table = Table::new(
    "b|beep c|color C|no-color d|differences=? e|errexit g|chgexit n|interval= p|precise q|equexit= r|no-rerun s|shotsdir= \
     t|no-title w|no-wrap x|exec h|help v|version",
);

pub(super) static TASKSET: Table = Table::new("a|all-tasks c|cpu-list p|pid h|help V|version");

pub(super) static NUMACTL: Table = Table::new(
    "a|all i|interleave= N|cpunodebind= C|physcpubind= m|membind= p|preferred= l|localalloc b|balancing H|hardware s|show \
     P|preferred-many= w|weighted-interleave=",
);

pub(super) static SHELL: Table = Table::new(
    "a b e f h i k l|login m n p r s t u v x B C E H P T c= O= o= |norc |noprofile |posix |restricted |verbose |rcfile= |init-file= \
     |dump-strings |help |version |noediting",
);

pub(super) static SCREEN: Table = Table::new("4 6 a A c= d D e= f h= i L m O p= q Q r R s= S= t= T= U v x X");

pub(super) static FLOCK: Table = Table::new(
    "s|shared x|exclusive e u|unlock n|nonblock |nb w|timeout= |wait= o|close E|conflict-exit-code= F|no-fork |verbose h|help \
     V|version",
);

pub(super) static SYSTEMD_RUN: Table = Table::new(
    "|user |system |scope u|unit= p|property= d|same-dir |working-directory= t|pty P|pipe q|quiet G|collect |wait |uid= |gid= \
     |nice= E|setenv= |slice= |slice-inherit |description= |no-block r|remain-after-exit |send-sighup |service-type= H|host= \
     M|machine= S|shell |no-ask-password |expand-environment= h|help |version",
);

pub(super) static SCRIPT: Table = Table::new(
    "a|append c|command= e|return f|flush |force q|quiet I|log-in= O|log-out= B|log-io= T|log-timing= m|logging-format= E|echo= \
     o|output-limit= t|timing=? h|help V|version",
);

pub(super) static TMUX: Table = Table::new("2 C D l N u v V c= f= L= S= T=");

/// What opens a session, a window, a part of one.
pub(super) static TMUX_NEW: Table = Table::new("A a b d D E f h I k P S v X Z c= e= F= l= n= p= s= t= x= y=");

pub(super) static TMUX_KEYS: Table = Table::new("F H K l M R X c= N= t=");

/// What a login to another machine may be wrapped in.
pub(super) static SSHPASS: Table = Table::new("p= f= d= e v h V P=");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_once_in_its_table() {
        let tables = [
            &SSH,
            &SCP,
            &SFTP,
            &RSYNC,
            &SRUN,
            &SBATCH,
            &SALLOC,
            &QSUB,
            &BSUB,
            &DOCKER,
            &DOCKER_RUN,
            &DOCKER_EXEC,
            &APPTAINER,
            &APPTAINER_RUN,
            &PARALLEL,
            &SUDO,
            &ENV,
            &TIMEOUT,
            &NICE,
            &IONICE,
            &TIME,
            &XARGS,
            &WATCH,
            &SHELL,
            &NUMACTL,
            &SCREEN,
            &FLOCK,
            &SYSTEMD_RUN,
            &SCRIPT,
            &TMUX,
            &TMUX_NEW,
            &TMUX_KEYS,
        ];
        for table in tables {
            let shorts: Vec<char> = table.specs().filter_map(|spec| spec.short).collect();
            let longs: Vec<&str> = table.specs().map(|spec| spec.long).filter(|long| !long.is_empty()).collect();
            for (index, short) in shorts.iter().enumerate() {
                assert!(!shorts[..index].contains(short), "-{short} twice in {}", table.options);
            }
            for (index, long) in longs.iter().enumerate() {
                assert!(!longs[..index].contains(long), "--{long} twice in {}", table.options);
            }
        }
    }

    #[test]
    fn spellings() {
        let spec = SRUN.short('n').unwrap();
        assert_eq!((spec.name(), spec.values, spec.may), ("ntasks", 1, false));
        assert_eq!(SRUN.long("cpus-per-t").unwrap().name(), "cpus-per-task");
        assert_eq!(SRUN.long("cpus"), None, "two begin so");
        assert_eq!(SSH.short('p').unwrap().name(), "p");
        assert_eq!(QSUB.long("pe").unwrap().values, 2);
        assert_eq!(SBATCH.long("exclusive").unwrap(), SALLOC.long("exclusive").unwrap());
    }
}
