# Starts commands in their sessions, and does for the agent what Node cannot. In Perl, which is in every Debian: a start through the usual
# programs (a shell into the control group, nsenter, setpriv) takes three more programs, and Node to fork, which an emulated machine is
# slow at.
#
#   stdin     from the agent, records: u32 BE length, then fields with a NUL between them
#             run ID CGROUP HOLDER UID UMASK STDIN STDOUT STDERR TERMINAL FILES WORDS… NAME=VALUE…        FILES: open at a time; WORDS: how many
#             pipes PATH…
#             wake SECONDS MILLISECONDS SEED           the time, or '' ''; a seed in hex, or ''
#   stdout    to the agent, the same: started ID PID;  exited ID CODE SIGNAL LINE;  pipes PROBLEM;  awake PROBLEM
#
# STDIN, STDOUT, STDERR: pipes by path, STDIN '' for none; TERMINAL: in place of all three. The command's descriptor 3 is a pipe whose last line
# comes back with its end. A line that begins with `!!` is why it could not be started.
use strict;
use warnings;
use Fcntl qw(O_RDONLY O_RDWR O_WRONLY O_NOCTTY);
use POSIX ();

my ($arch, @filter_paths) = @ARGV;
my $arm = $arch eq 'arm64';
# From the kernel's asm/unistd_64.h and asm-generic/unistd.h.
my %call = $arm
  ? (setns => 268, prctl => 167, capset => 91, setgroups => 159, setresgid => 149, setresuid => 147, prlimit => 261, settime => 112, seccomp => 277)
  : (setns => 308, prctl => 157, capset => 126, setgroups => 116, setresgid => 119, setresuid => 117, prlimit => 302, settime => 227, seccomp => 317);
my ($CLONE_NEWPID, $CLONE_NEWNS) = (0x2000_0000, 0x2_0000);
my @joined = (['cgroup', 0x200_0000], ['ipc', 0x800_0000], ['uts', 0x400_0000], ['net', 0x4000_0000]);
my ($CAPBSET_DROP, $NO_NEW_PRIVS, $CAP_AMBIENT) = (24, 38, 47);
my ($SET_MODE_FILTER, $FLAG_LOG) = (1, 2);
my ($LIMIT_CORE, $LIMIT_FILES) = (4, 7);
my $TIOCSCTTY = 0x540e;
# What a command says on its descriptor 3 beyond this is not kept, bytes.
my $last_words = 8192;

my ($filter, $quiet) = map { open my $file, '<:raw', $_ or die "$_: $!"; local $/; <$file> } @filter_paths;
open my $own_processes, '<', '/proc/self/ns/pid' or die "namespace: $!";
my (%commands, %pipes);
my $heard = '';

# An end interrupts the wait below: it is told by a byte in this pipe.
pipe(my $ended, my $ending) or die "pipe: $!";
fcntl($ending, 4, 0x800) or die "pipe: $!";
$SIG{CHLD} = sub { syswrite $ending, '.' };

while (1) {
  my $ready = '';
  vec($ready, $_, 1) = 1 for 0, fileno $ended, keys %pipes;
  select($ready, undef, undef, undef) >= 0 or next;
  for my $fd (keys %pipes) { listen_to($fd) if vec($ready, $fd, 1) }
  if (vec($ready, fileno $ended, 1)) {
    sysread $ended, my $bytes, 4096;
    reap();
  }
  hear() if vec($ready, 0, 1);
}

sub answer {
  my $fields = join "\0", @_;
  my $record = pack('N', length $fields) . $fields;
  for (my $at = 0; $at < length $record;) { $at += syswrite(STDOUT, $record, length($record) - $at, $at) // die "agent: $!" }
}

sub hear {
  exit 0 if !sysread STDIN, $heard, 1 << 20, length $heard;
  while (length $heard >= 4) {
    my $length = unpack 'N', $heard;
    return if length $heard < 4 + $length;
    my ($order, @fields) = split /\0/, substr($heard, 4, $length), -1;
    substr($heard, 0, 4 + $length) = '';
    if ($order eq 'run') { start(@fields) }
    elsif ($order eq 'pipes') { answer('pipes', eval { make_pipes(@fields); 1 } ? '' : $@) }
    elsif ($order eq 'wake') { answer('awake', eval { wake(@fields); 1 } ? '' : $@) }
  }
}

sub start {
  my ($id, $group, $holder, $uid, $umask, $stdin, $stdout, $stderr, $terminal, @rest) = @_;
  my $pid = undef;
  eval {
    pipe(my $said, my $says) or die "pipe: $!";
    # Open from here on: who writes to it may let go of it.
    my $input = $terminal eq '' ? opened($stdin eq '' ? '/dev/null' : $stdin, O_RDONLY) : opened($terminal, O_RDWR | O_NOCTTY);
    # Whoever is forked from here on is in the session's process namespace.
    join_namespace($holder, 'pid', $CLONE_NEWPID);
    $pid = fork;
    if (defined $pid && $pid == 0) {
      eval { become($says, $group, $holder, $uid, $umask, $terminal ne '', $input, $stdout, $stderr, @rest) };
      syswrite $says, "!!$@";
      POSIX::_exit(126);
    }
    my $why = $!;
    syscall($call{setns}, fileno $own_processes, $CLONE_NEWPID) == 0 or die "namespace: $!";
    defined $pid or die "fork: $why";
    $pipes{fileno $said} = $commands{$pid} = { id => $id, pipe => $said, text => '', open => 1 };
    answer('started', $id, $pid);
  };
  if ($@) {
    exit 1 if defined $pid;
    syscall($call{setns}, fileno $own_processes, $CLONE_NEWPID) == 0 or exit 1;
    answer('exited', $id, 126, '', "!!$@");
  }
}

sub join_namespace {
  my ($holder, $name, $kind) = @_;
  open my $namespace, '<', "/proc/$holder/ns/$name" or die "the session is gone: $!\n";
  syscall($call{setns}, fileno $namespace, $kind) == 0 or die "namespace $name: $!\n";
}

# In the new process: becomes the command, or dies.
sub become {
  my ($says, $group, $holder, $uid, $umask, $on_terminal, $input, $stdout, $stderr, $files, $words, @more) = @_;
  $SIG{CHLD} = 'DEFAULT';
  POSIX::setsid();
  # First what it writes to: whoever reads it waits for a writer.
  my @streams = $on_terminal ? ($input) x 3 : ($input, opened($stdout, O_WRONLY), opened($stderr, O_WRONLY));
  my @command = splice @more, 0, $words;
  write_file("$group/cgroup.procs", '0');
  write_file('/proc/self/oom_score_adj', '0');
  bound($LIMIT_CORE, 0);
  bound($LIMIT_FILES, $files);
  umask $umask;
  join_session($holder);
  chdir '/' or die "folder: $!\n";
  ioctl($streams[0], $TIOCSCTTY, 0) or die "terminal: $!\n" if $on_terminal;
  %ENV = map { split /=/, $_, 2 } @more;
  # 3 and above are free for it but for its last words.
  my $kept = POSIX::dup(fileno $says);
  POSIX::dup2(fileno $streams[$_], $_) // die "stream: $!\n" for 0 .. 2;
  POSIX::dup2($kept, 3) // die "stream: $!\n";
  POSIX::close($kept) if $kept != 3;
  confine($uid);
  no warnings 'exec';
  exec { $command[0] } @command or die "$command[0]: $!\n";
}

# All its namespaces but that of processes. All are opened first: the last brings another /proc.
sub join_session {
  my ($holder) = @_;
  my @namespaces = map { [opened("/proc/$holder/ns/$_->[0]", O_RDONLY), $_->[1]] } @joined, ['mnt', $CLONE_NEWNS];
  for (@namespaces) { syscall($call{setns}, fileno $_->[0], $_->[1]) == 0 or die "namespace: $!\n" }
}

# No group, no capability, no way to another one, no system call that the filter denies; the user.
sub confine {
  my ($uid) = @_;
  syscall($call{prctl}, $CAPBSET_DROP, $_, 0, 0, 0) == 0 or last_capability($_) for 0 .. 63;
  syscall($call{prctl}, $CAP_AMBIENT, 4, 0, 0, 0) == 0 or die "ambient: $!\n";
  syscall($call{setgroups}, 0, 0) == 0 or die "groups: $!\n";
  syscall($call{setresgid}, $uid + 0, $uid + 0, $uid + 0) == 0 or die "group: $!\n";
  syscall($call{setresuid}, $uid + 0, $uid + 0, $uid + 0) == 0 or die "user: $!\n";
  my ($header, $none) = (pack('LL', 0x2008_0522, 0), pack('L6', (0) x 6));
  syscall($call{capset}, $header, $none) == 0 or die "capabilities: $!\n";
  syscall($call{prctl}, $NO_NEW_PRIVS, 1, 0, 0, 0) == 0 or die "privileges: $!\n";
  # What the first refuses is told (audit), what the second does is not.
  for ([$filter, $FLAG_LOG], [$quiet, 0]) {
    my ($code, $flags) = @$_;
    my $program = pack 'S x6 P', length($code) / 8, $code;
    syscall($call{seccomp}, $SET_MODE_FILTER, $flags, $program) == 0 or die "filter: $!\n";
  }
}

# Beyond the last capability there is, dropping one is an error; before it never.
sub last_capability {
  my ($number) = @_;
  $!{EINVAL} && $number >= 40 or die "bounding set: $!\n";
}

sub opened {
  my ($path, $mode) = @_;
  sysopen(my $file, $path, $mode) or die "$path: $!\n";
  return $file;
}

sub write_file {
  my ($path, $text) = @_;
  my $file = opened($path, O_WRONLY);
  defined syswrite $file, $text or die "$path: $!\n";
}

sub bound {
  my ($kind, $most) = @_;
  my $limit = pack 'QQ', $most, $most;
  syscall($call{prlimit}, 0, $kind, $limit, 0) == 0 or die "limit: $!\n";
}

sub listen_to {
  my ($fd) = @_;
  my $command = $pipes{$fd} or return;
  my $read = sysread $command->{pipe}, my $bytes, 4096;
  return keep_last($command, $bytes) if $read;
  delete $pipes{$fd};
  close $command->{pipe};
  $command->{open} = 0;
}

sub keep_last {
  my ($command, $bytes) = @_;
  $command->{text} .= $bytes;
  $command->{text} = substr $command->{text}, -$last_words if length $command->{text} > $last_words;
}

sub reap {
  while ((my $pid = waitpid -1, POSIX::WNOHANG()) > 0) {
    my ($status, $command) = ($?, delete $commands{$pid});
    next unless $command;
    # What it said last is in the pipe; somebody it left behind may keep that open.
    if ($command->{open}) {
      my $fd = fileno $command->{pipe};
      fcntl($command->{pipe}, 4, 0x800);
      while (sysread $command->{pipe}, my $bytes, 4096) { keep_last($command, $bytes) }
      delete $pipes{$fd};
      close $command->{pipe};
    }
    my ($line) = $command->{text} =~ /([^\n]*)\n*\z/;
    my $signal = $status & 127;
    answer('exited', $command->{id}, $signal ? '' : $status >> 8, $signal || '', $line);
  }
}

# For one command each: whoever had one may still read from it.
sub make_pipes {
  for my $path (@_) { POSIX::mkfifo($path, 0600) or die "$path: $!\n" }
}

# After this no two machines started from one saved memory are alike: the time is set, the seed is added as entropy and the generator made
# to take it up now (RNDADDENTROPY, RNDRESEEDCRNG; random(4)). Just writing it would count only minutes later.
sub wake {
  my ($seconds, $milliseconds, $seed) = @_;
  if ($seconds ne '') {
    my $time = pack 'qq', $seconds, $milliseconds * 1_000_000;
    syscall($call{settime}, 0, $time) == 0 or die "clock: $!\n";
  }
  return if $seed eq '';
  my $bytes = pack 'H*', $seed;
  my $random = opened('/dev/random', O_RDWR);
  ioctl($random, 0x40085203, pack 'iia*', 8 * length($bytes), length $bytes, $bytes) or die "add: $!\n";
  ioctl($random, 0x5207, 0) or die "reseed: $!\n";
}
