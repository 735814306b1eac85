# Stands at the files port, and serves connected folders to the kernel there by itself: an emulated machine runs Node slowly, and each look at a file is a
# message or more. What the kernel asks (FUSE) and what the host is asked for it (9P) is in `files-fuse.pl`; what carries both is here. All else on
# the port goes to the agent and comes from it, as it is.
#
#   port      frames (frames.ts)   of folders: one 9P message each; others are the agent's
#   stdin     from the agent       open N PLACE TARGET MODE HEADER CLOSING    mounts a folder: in the mount namespace of process PLACE, at TARGET
#                                  (hex), `ro` or `rw`; headers of its frames, in hex. PLACE 0: TARGET is a descriptor that the kernel's requests come from
#                                  drop N      its programs are cut off
#   stdout    to the agent         made N ERROR    its number, 0 for none
#   fd 3      both ways            the agent's frames
#
# The way to the host takes longer than all else, so some requests are answered here:
#
#   what the host has just said, for a moment (`good_for`): what a name stands for, attributes, the content of a small file. Answers bring it along.
#   What is changed through a folder is forgotten there before the change is passed on, and the change's answer says what is now.
#
#   what cannot fail, or whose failure is told by what follows: another fid for a place, one for a name that is known, the end of one. The host gets
#   these with the tag of those it does not answer, and before whatever it is asked next.
#
# Nothing here waits for a reader: what cannot be written is kept, and its source is not read meanwhile. Whatever cannot be is a defect and ends
# this process, and the agent with it.
use strict;
use warnings;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);
use Fcntl qw(O_RDWR O_NONBLOCK F_GETFL F_SETFL);
use Errno qw(EAGAIN EINTR ENOENT);
use POSIX ();

my ($port_path, $largest_frame);
our ($message_size, $silent_tag);
($port_path, $largest_frame, $message_size, $silent_tag) = @ARGV;
# Seconds that what the host said is good for, and the most of it that is kept of one connection.
our ($good_for, $most_known) = (0.05, 2000);
# When something was heard last, seconds; the time of day may be set.
our $now = clock_gettime(CLOCK_MONOTONIC);
# Seconds and bytes that messages without an answer may wait for one that has one.
my ($held_for, $held_most) = (0.02, 1 << 16);
# More than this waiting to be written, and its source is not read.
my $enough = 1 << 20;
# The largest write of the kernel's, with what is around it, fits in.
my $piece = 1 << 18;
# What one read of the port gives at most.
my $page = 4096;

$SIG{PIPE} = $SIG{CHLD} = 'IGNORE';
my $arm = (POSIX::uname())[4] eq 'aarch64';
# From the kernel's asm/unistd_64.h and asm-generic/unistd.h; linux/mount.h.
my ($setns, $mount) = $arm ? (268, 40) : (308, 165);
my ($CLONE_NEWNS, $RDONLY, $NOSUID, $NODEV) = (0x2_0000, 1, 2, 4);
my $beside = $0 =~ m{^(.*/)} ? $1 : './';
require "${beside}files-$_.pl" for 'fuse', 'known', 'nodes', 'content';
# A number is a descriptor.
my $port;
if ($port_path =~ /^\d+$/) { open($port, '+<&=', $port_path) or die "port: $!"; unblock($port) }
else { sysopen($port, $port_path, O_RDWR | O_NONBLOCK) or die "$port_path: $!" }
open(my $agent, '+<&=', 3) or die "agent: $!";
unblock($agent);
my ($port_fd, $agent_fd) = (fileno $port, fileno $agent);
# What came and is no whole frame yet; what is still to be written.
my ($from_host, $to_host, $from_agent, $to_agent, $orders) = ('', '', '', '', '');
# Frames that get no answer.
our $held = '';
my $connected = 1;
# Connections by number, by descriptor, by the header of their frames.
my (%channels, %by_fd, %by_header);
# A switch to this process empties an emulated processor's caches, so a request costs as much as the Perl that is run for it, each piece of it anew.
# What is nearly always so is therefore dealt with right in the loop: nothing waits to be written (`quiet`), one source has something (`only`: folders by
# what select says of them alone), and that is one whole message. All else is for `turn`.
my ($quiet, $everyone, $port_only, %only) = (0, '', '');

while (1) {
  if (!$quiet) { turn(); next }
  my $ready = $everyone;
  my $found = select($ready, undef, undef, length $held ? $held_for : undef);
  if ($found < 0) { next if $! == EINTR; die "select: $!" }
  if (!$found) { to_host(''); next }
  $now = clock_gettime(CLOCK_MONOTONIC);
  if ($ready eq $port_only) {
    my $read = sysread $port, $from_host, $piece, length $from_host;
    if ($read and $read > 6 and $read < $page and $read == length $from_host) {
      my ($size, $header_size) = unpack 'Nn', $from_host;
      my $channel = $size == $read - 4 ? $by_header{substr $from_host, 6, $header_size} : undef;
      if ($channel and $header_size == $channel->{header_size} and $size > $header_size + 2) {
        my $message = substr $from_host, 6 + $header_size;
        $from_host = '';
        host_says($channel, \$message);
        flush_to($port, \$to_host) if length $to_host;
        next;
      }
    }
    heard_host($read);
  } elsif (my $channel = $only{$ready}) {
    heard_kernel($channel, scalar sysread $channel->{fuse}, $channel->{in}, $piece, length $channel->{in});
  } else { serve($ready, '') }
}

# One look at everything there is.
sub turn {
  my ($reads, $writes) = ('', '');
  if (length $held) { $to_host .= $held; $held = '' }
  vec($reads, 0, 1) = 1;
  my $host_keeps_up = length $to_host < $enough;
  if ($host_keeps_up) { vec($reads, $_, 1) = 1 for keys %by_fd }
  vec($reads, $port_fd, 1) = 1 if length $to_agent < $enough and $connected;
  vec($reads, $agent_fd, 1) = 1 if $host_keeps_up;
  vec($writes, $port_fd, 1) = 1 if length $to_host;
  vec($writes, $agent_fd, 1) = 1 if length $to_agent;
  # While nobody is connected the port is always ready, and has nothing.
  my $found = select($reads, $writes, undef, $connected ? undef : 0.1);
  if ($found < 0) { return if $! == EINTR; die "select: $!" }
  $now = clock_gettime(CLOCK_MONOTONIC);
  serve($reads, $writes);
  settle();
}

# What select found.
sub serve {
  my ($reads, $writes) = @_;
  hear_host() if !$connected or vec($reads, $port_fd, 1);
  for my $fd (keys %by_fd) {
    my $channel = $by_fd{$fd} or next;
    heard_kernel($channel, scalar sysread $channel->{fuse}, $channel->{in}, $piece, length $channel->{in}) if vec($reads, $fd, 1);
  }
  hear_agent() if vec($reads, $agent_fd, 1);
  flush_to($port, \$to_host) if vec($writes, $port_fd, 1);
  flush_to($agent, \$to_agent) if vec($writes, $agent_fd, 1);
  hear_orders() if vec($reads, 0, 1);
}

# Whether nothing waits, and what the loop listens to then.
sub settle {
  return unless $connected and !length $to_host and !length $to_agent;
  $everyone = '';
  vec($everyone, $_, 1) = 1 for 0, $port_fd, $agent_fd, keys %by_fd;
  $port_only = only($port_fd);
  %only = map { (only($_) => $by_fd{$_}) } keys %by_fd;
  $quiet = 1;
}

sub only {
  my ($fd) = @_;
  my $ready = "\0" x length $everyone;
  vec($ready, $fd, 1) = 1;
  return $ready;
}

sub unblock {
  my ($handle) = @_;
  fcntl($handle, F_SETFL, fcntl($handle, F_GETFL, 0) | O_NONBLOCK) or die "fcntl: $!";
}

sub frame {
  my ($header, $length) = @_;
  return pack('Nn', 2 + length($header) + $length, length $header) . $header;
}

# As much as goes. False when it will never go.
sub flush_to {
  my ($handle, $bytes) = @_;
  while (length $$bytes) {
    my $written = syswrite $handle, $$bytes, length $$bytes;
    if (!$written) {
      $quiet = 0;
      return defined $written || $! == EAGAIN || $! == EINTR;
    }
    substr($$bytes, 0, $written) = '';
  }
  return 1;
}

sub to_host {
  $to_host .= $held . $_[0];
  $held = '';
  flush_to($port, \$to_host);
}

# Goes with the next flush.
sub to_host_later { $to_host .= $_[0] }

# One answer is one write, which the kernel takes at once; it may have given up waiting for it. What it cannot take is our defect.
sub to_kernel {
  my ($channel, $answer) = @_;
  my $fuse = $channel->{fuse} or return;
  my $written = syswrite $fuse, $answer;
  return if defined $written and $written == length $answer or $! == ENOENT;
  return cut_off($channel) unless defined $written or $! == EAGAIN;
  # In tests, where the kernel is a socket.
  for (my $at = $written // 0; $at < length $answer; $at += $written // 0) {
    my $room = '';
    vec($room, fileno $fuse, 1) = 1;
    select undef, $room, undef, undef;
    $written = syswrite $fuse, $answer, length($answer) - $at, $at;
    return cut_off($channel) unless defined $written or $! == EAGAIN;
  }
}

sub hear_host {
  heard_host(scalar sysread $port, $from_host, $piece, length $from_host);
}

# `read`: what the port gave.
sub heard_host {
  my ($read) = @_;
  while (1) {
    die "port: $!" unless defined $read or $! == EAGAIN or $! == EINTR;
    last if !defined $read or $read != $page or length $from_host >= $enough;
    $read = sysread $port, $from_host, $piece, length $from_host;
  }
  if (!defined $read or $read > 0) {
    $connected = 1;
    take_frames();
  } elsif ($connected) {
    ($connected, $quiet) = (0, 0);
    ($from_host, $to_host, $held) = ('', '', '');
    cut_off($_) for values %channels;
  }
}

sub take_frames {
  my $at = 0;
  while (length($from_host) - $at >= 6) {
    my ($size, $header_size) = unpack 'Nn', substr($from_host, $at, 6);
    die "no frame" if $size > $largest_frame or $header_size < 2 or $header_size + 2 > $size;
    last if length($from_host) - $at < 4 + $size;
    my $channel = $by_header{substr $from_host, $at + 6, $header_size};
    if (!$channel) { $to_agent .= substr $from_host, $at, 4 + $size }
    elsif ($channel->{closing} eq substr $from_host, $at + 6, $header_size) { cut_off($channel) }
    else {
      my $message = substr $from_host, $at + 6 + $header_size, $size - 2 - $header_size;
      # Without a message: what was said before is not true any more.
      if (length $message) { host_says($channel, \$message) }
      else { forget_all($channel) }
    }
    $at += 4 + $size;
  }
  substr($from_host, 0, $at) = '' if $at;
  flush_to($agent, \$to_agent) if length $to_agent;
  flush_to($port, \$to_host) if length $to_host;
}

# `read`: what came from the kernel: one request, of which `in` is the beginning or the whole.
sub heard_kernel {
  my ($channel, $read) = @_;
  # It may have given a request up just then.
  return if !defined $read and ($! == EAGAIN or $! == EINTR or $! == ENOENT);
  return cut_off($channel) if !$read;
  while (length $channel->{in} >= 40) {
    my $size = unpack 'L', $channel->{in};
    last if length $channel->{in} < $size;
    if ($size == length $channel->{in}) {
      kernel_asks($channel, \$channel->{in});
      $channel->{in} = '';
    } else { kernel_asks($channel, \(my $request = substr $channel->{in}, 0, $size, '')) }
  }
  to_host('') if length $held >= $held_most;
  flush_to($port, \$to_host) if length $to_host;
}

# The host hears of it. Programs that still have something open there are told so by the kernel.
sub cut_off {
  my ($channel) = @_;
  $quiet = 0;
  delete $by_fd{$channel->{fd}};
  delete $by_header{$channel->{header}};
  delete $by_header{$channel->{closing}};
  delete $channels{$channel->{number}};
  close $channel->{fuse} if $channel->{fuse};
  $channel->{fuse} = undef;
  to_host(frame($channel->{closing}, 0)) if $connected;
}

sub hear_agent {
  my $read = sysread $agent, $from_agent, $piece, length $from_agent;
  return if !defined $read and ($! == EAGAIN or $! == EINTR);
  exit 0 if !$read;
  my $at = 0;
  while (length($from_agent) - $at >= 4) {
    my $size = unpack 'N', substr($from_agent, $at, 4);
    die "no frame of the agent's" if $size > $largest_frame;
    last if length($from_agent) - $at < 4 + $size;
    $at += 4 + $size;
  }
  return unless $at;
  to_host(substr $from_agent, 0, $at);
  substr($from_agent, 0, $at) = '';
}

sub report {
  my ($line) = @_;
  syswrite(STDOUT, "$line\n") or die "stdout: $!";
}

sub hear_orders {
  my $read = sysread STDIN, $orders, $piece, length $orders;
  return if !defined $read and $! == EINTR;
  exit 0 if !$read;
  while ($orders =~ s/^([^\n]*)\n//) {
    my ($order, @rest) = split / /, $1;
    if ($order eq 'open') { make(@rest) }
    elsif ($order eq 'drop') { cut_off($channels{$rest[0]}) if $channels{$rest[0]} }
  }
}

# Mounted once the host has let us in.
sub make {
  my ($number, $place, $target, $mode, $header, $closing) = @_;
  my $channel = {
    number => $number, fuse => undef, fd => -1, header => pack('H*', $header), closing => pack('H*', $closing), in => '', new_folder(),
  };
  $channel->{header_size} = length $channel->{header};
  $channel->{overhead} = 2 + length $channel->{header};
  $channel->{start} = pack('n', length $channel->{header}) . $channel->{header};
  $channels{$number} = $channel;
  $by_header{$channel->{header}} = $channel;
  $by_header{$channel->{closing}} = $channel;
  attach($channel, sub {
    my ($error) = @_;
    $error ||= $place ? mount_folder($channel, $place, pack('H*', $target), $mode) : take($channel, $target);
    cut_off($channel) if $error;
    report("made $number $error");
  });
  flush_to($port, \$to_host);
}

sub take {
  my ($channel, $fd) = @_;
  open($channel->{fuse}, '+<&=', $fd) or return $! + 0;
  attend($channel);
  return 0;
}

sub attend {
  my ($channel) = @_;
  unblock($channel->{fuse});
  $channel->{fd} = fileno $channel->{fuse};
  $by_fd{$channel->{fd}} = $channel;
  $quiet = 0;
}

# In the session's mount namespace, which only a process of its own can enter and leave again by ending. The kernel's first request waits meanwhile.
sub mount_folder {
  my ($channel, $place, $target, $mode) = @_;
  sysopen($channel->{fuse}, '/dev/fuse', O_RDWR) or return $! + 0;
  pipe(my $said, my $says) or return $! + 0;
  my $child = fork;
  return $! + 0 if !defined $child;
  if (!$child) {
    my $error = mounts_folder($channel->{fuse}, $place, $target, $mode);
    syswrite $says, $error;
    POSIX::_exit(0);
  }
  close $says;
  sysread $said, my $error, 16;
  attend($channel);
  return defined $error && length $error ? $error : 5;
}

sub mounts_folder {
  my ($fuse, $place, $target, $mode) = @_;
  open my $namespace, '<', "/proc/$place/ns/mnt" or return $! + 0;
  syscall($setns, fileno $namespace, $CLONE_NEWNS) == 0 or return $! + 0;
  my $flags = $NOSUID | $NODEV | ($mode eq 'ro' ? $RDONLY : 0);
  # Only the session's programs can get there.
  my $options = 'fd=' . fileno($fuse) . ',rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other';
  # As `syscall` needs them, strings are variables.
  my ($source, $type) = ('bulkhead', 'fuse');
  return syscall($mount, $source, $target, $type, $flags, $options) == 0 ? 0 : $! + 0;
}
