# Hears from the kernel what sessions do, which Node cannot: programs that start and end (the connector of process events, cn_proc.h), and
# system calls that the filter denied (audit records of type SECCOMP).
#
#   stdout    to the agent, records: u32 BE length, then fields with a NUL between them
#             start PID GROUP PATH WORDS               GROUP: the command's control group, as below /sys/fs/cgroup/sessions
#             end PID CODE SIGNAL                      of one that was told; one of the two is ''
#             denied UID PID NAME CALL SIGNAL ARCH     by number; SIGNAL not 0: it was ended for it
#             missed COUNT                             more came than are told
use strict;
use warnings;

my ($EXEC, $EXIT) = (0x2, 0x8000_0000);
# Told at a time, and refilled each second: a build starts hundreds; what would flood the agent is counted.
my ($burst, $each_second) = (400, 100);
my ($budget, $missed, $second) = ($burst, 0, time);
my %told;

sub netlink {
  my ($family, $group) = @_;
  socket(my $socket, 16, 3, $family) or die "netlink $family: $!\n";
  bind($socket, pack 'S S L L', 16, 0, 0, $group) or die "netlink group: $!\n";
  # What comes while this waits for its turn.
  setsockopt($socket, 1, 33, pack 'i', 1 << 20);
  return $socket;
}

my $processes = netlink(11, 1);
# PROC_CN_MCAST_LISTEN, for these events alone.
my $wish = pack 'L L L L S S L L', 1, 1, 0, 0, 8, 0, 1, $EXEC | $EXIT;
defined send($processes, pack('L S S L L', 16 + length $wish, 3, 0, 0, 0) . $wish, 0) or die "process events: $!\n";
my $audit = netlink(9, 1);
# At most so many records a second are made, and whoever makes them does not wait for their reader (AUDIT_SET: rate limit, backlog wait time).
my $status = pack 'L11', 0x28, 0, 0, 0, $each_second, 0, 0, 0, 0, 0, 0;
send $audit, pack('L S S L L', 16 + length $status, 1001, 1, 0, 0) . $status, 0;
# Before what it watches: some programs are over in a moment.
setpriority 0, 0, -20;

$| = 1;
while (1) {
  my $ready = '';
  vec($ready, fileno $_, 1) = 1 for $processes, $audit;
  select($ready, undef, undef, $missed > 0 ? 1 : undef) >= 0 or next;
  if (vec($ready, fileno $processes, 1)) { recv($processes, my $bytes, 65_536, 0); process_event($bytes) if length $bytes }
  if (vec($ready, fileno $audit, 1)) { recv($audit, my $bytes, 65_536, 0); audit_record($bytes) if length $bytes }
  refill();
}

sub refill {
  my $now = time;
  return if $now == $second;
  $second = $now;
  $budget += $each_second;
  $budget = $burst if $budget > $burst;
  answer('missed', $missed) if $missed > 0;
  $missed = 0;
}

sub answer {
  my $fields = join "\0", map { tr/\0/ /r } @_;
  my $record = pack('N', length $fields) . $fields;
  for (my $at = 0; $at < length $record;) { $at += syswrite(STDOUT, $record, length($record) - $at, $at) // exit 0 }
}

sub report {
  return $missed++ if $budget < 1;
  $budget--;
  answer(@_);
}

sub process_event {
  my ($bytes) = @_;
  return if length $bytes < 60;
  my ($what, $thread, $pid, $status) = unpack 'x36 L x12 L L L', $bytes . "\0" x 4;
  return if $thread != $pid;
  if ($what == $EXEC) {
    my $groups = read_some("/proc/$pid/cgroup", 512);
    # It was over before it could be looked at.
    return $missed++ if $groups eq "";
    my ($group) = $groups =~ m{^0::/sessions/([^/\n]+/c\d+)}m or return;
    $told{$pid} = 1;
    report('start', $pid, $group, readlink("/proc/$pid/exe") // '', read_some("/proc/$pid/cmdline", 512) =~ s/\0\z//r);
  } elsif ($what == $EXIT && delete $told{$pid}) {
    my $signal = $status & 127;
    report('end', $pid, $signal ? '' : $status >> 8 & 255, $signal || '');
  }
}

sub audit_record {
  my ($bytes) = @_;
  return if length $bytes < 16 || unpack('x4 S', $bytes) != 1326;
  my $text = substr $bytes, 16;
  my ($uid, $pid, $name, $signal, $arch, $call) =
    $text =~ /\buid=(\d+) .*?\bpid=(\d+) comm=("[^"]*"|[0-9A-Fa-f]+) .*?\bsig=(\d+) arch=([0-9a-f]+) syscall=(\d+)/ or return;
  $name = $name =~ /^"(.*)"$/ ? $1 : pack 'H*', $name;
  report('denied', $uid, $pid, $name, $call, $signal, $arch);
}

sub read_some {
  my ($path, $most) = @_;
  open(my $file, "<:raw", $path) or return '';
  sysread($file, my $bytes, $most);
  return $bytes // '';
}
