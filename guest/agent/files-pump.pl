# Stands at the files port, and carries connected folders between the kernel's 9P clients and the host by itself: an emulated machine runs Node
# slowly, and each look at a file is several messages. All else on the port goes to the agent and comes from it, as it is.
#
#   port      frames (frames.ts)   of folders: one 9P message each; others are the agent's
#   stdin     from the agent       open N SOCKET HEADER CLOSING    makes the socket, for one client; headers of its frames, in hex
#                                  drop N      its client is cut off
#   stdout    to the agent         made N
#   fd 3      both ways            the agent's frames
#
# The way to the host takes longer than all else, so some messages are answered here:
#
#   what the host has just said, for a moment (`good_for`): what a name stands for, attributes, the content of a small file. Answers bring it along
#   (`keep_ahead`). What is changed through a connection is forgotten there before the change is passed on, and the change's answer says what is now.
#
#   what cannot fail, or whose failure is told by what follows: another fid for a place, one for a name that is known, the end of one that nothing was
#   written by. The host gets these with the tag of those it does not answer, and before whatever it is asked next.
#
# Nothing here waits for a reader: what cannot be written is kept, and its source is not read meanwhile. Whatever cannot be is a defect and ends
# this process, and the agent with it.
use strict;
use warnings;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);
use Fcntl qw(O_RDWR O_NONBLOCK F_GETFL F_SETFL);
use Errno qw(EAGAIN EINTR);

my ($port_path, $largest_frame, $largest_message, $smallest_message, $silent_tag) = @ARGV;
my ($AF_UNIX, $SOCK_STREAM) = (1, 1);
my ($LERROR, $LOPEN, $LCREATE, $GETATTR, $SETATTR, $UNLINKAT) = (7, 12, 14, 24, 26, 76);
my ($VERSION, $ATTACH, $WALK, $READ, $WRITE, $CLUNK) = (100, 104, 110, 116, 118, 120);
# Besides those above: statfs, readlink, xattrwalk, readdir, fsync, lock, getlock, flush. All others change something.
my %looks = map { $_ => 1 } 8, 22, 30, 40, 50, 52, 54, 108;
# Flags of an open: reading only, and not cut short.
my $changing_flags = 3 | 01000;
my $remove_folder = 0x200;
# Seconds that what the host said is good for, and the most of it that is kept of one connection.
my ($good_for, $most_known) = (0.05, 2000);
# Seconds and bytes that messages without an answer may wait for one that has one.
my ($held_for, $held_most) = (0.02, 1 << 16);
# More than this waiting to be written, and its source is not read.
my $enough = 1 << 20;
my $piece = 1 << 18;
# What one read of the port gives at most.
my $page = 4096;

$SIG{PIPE} = 'IGNORE';
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
my $held = '';
my $connected = 1;
# Connections by number, by descriptor, by the header of their frames.
my (%channels, %by_fd, %by_header);
# A switch to this process empties an emulated processor's caches, so a message costs as much as the Perl that is run for it, each piece of it anew.
# What is nearly always so is therefore dealt with right in the loop: nothing waits to be written (`quiet`), one source has something (`only`: clients by
# what select says of them alone), and that is one whole message. All else is for `turn`.
my ($quiet, $everyone, $port_only, %only) = (0, '', '');

while (1) {
  if (!$quiet) { turn(); next }
  my $ready = $everyone;
  my $found = select($ready, undef, undef, length $held ? $held_for : undef);
  if ($found < 0) { next if $! == EINTR; die "select: $!" }
  if (!$found) { to_host(''); next }
  if ($ready eq $port_only) {
    my $read = sysread $port, $from_host, $piece, length $from_host;
    if ($read and $read > 6 and $read < $page and $read == length $from_host) {
      my ($size, $header_size) = unpack 'Nn', $from_host;
      my $channel = $size == $read - 4 ? $by_header{substr $from_host, 6, $header_size} : undef;
      if ($channel and $channel->{client} and $header_size == $channel->{header_size} and $size > $header_size + 2) {
        $from_host = substr $from_host, 6 + $header_size;
        learn($channel, \$from_host);
        my $written = syswrite $channel->{client}, $from_host;
        if (!defined $written or $written < length $from_host) {
          $channel->{out} = substr $from_host, $written // 0;
          flush_client($channel);
        }
        $from_host = '';
        next;
      }
    }
    heard_host($read);
  } elsif (my $channel = $only{$ready}) {
    my $read = sysread $channel->{client}, $channel->{in}, $piece, length $channel->{in};
    if ($read and $read >= $smallest_message and $read <= $largest_message and $read == length $channel->{in} and $read == unpack 'V', $channel->{in}) {
      if (answered($channel, \$channel->{in})) {
        $channel->{in} = '';
        next if length $held < $held_most;
        to_host('');
        next;
      }
      $to_host .= $held . pack('N', $channel->{overhead} + $read) . $channel->{start} . $channel->{in};
      ($channel->{in}, $held) = ('', '');
      my $written = syswrite $port, $to_host;
      if (defined $written and $written == length $to_host) { $to_host = '' }
      else { substr($to_host, 0, $written // 0) = ''; $quiet = 0 }
      next;
    }
    heard_client($channel, $read);
  } else { serve($ready, '') }
}

# The time of day may be set.
sub now { return clock_gettime(CLOCK_MONOTONIC) }

# One look at everything there is.
sub turn {
  my ($reads, $writes) = ('', '');
  if (length $held) { $to_host .= $held; $held = '' }
  vec($reads, 0, 1) = 1;
  my $host_keeps_up = length $to_host < $enough;
  my $clients_keep_up = length $to_agent < $enough;
  for my $channel (values %channels) {
    vec($reads, $channel->{fd}, 1) = 1 if $host_keeps_up;
    next unless length $channel->{out};
    vec($writes, $channel->{fd}, 1) = 1;
    $clients_keep_up = 0 if length $channel->{out} > $enough;
  }
  vec($reads, $port_fd, 1) = 1 if $clients_keep_up and $connected;
  vec($reads, $agent_fd, 1) = 1 if $host_keeps_up;
  vec($writes, $port_fd, 1) = 1 if length $to_host;
  vec($writes, $agent_fd, 1) = 1 if length $to_agent;
  # While nobody is connected the port is always ready, and has nothing.
  my $found = select($reads, $writes, undef, $connected ? undef : 0.1);
  if ($found < 0) { return if $! == EINTR; die "select: $!" }
  serve($reads, $writes);
  settle();
}

# What select found.
sub serve {
  my ($reads, $writes) = @_;
  hear_host() if !$connected or vec($reads, $port_fd, 1);
  for my $fd (keys %by_fd) {
    my $channel = $by_fd{$fd} or next;
    hear_client($channel) if vec($reads, $fd, 1);
    flush_client($channel) if $by_fd{$fd} and vec($writes, $fd, 1);
  }
  hear_agent() if vec($reads, $agent_fd, 1);
  flush_to($port, \$to_host) if vec($writes, $port_fd, 1);
  flush_to($agent, \$to_agent) if vec($writes, $agent_fd, 1);
  hear_orders() if vec($reads, 0, 1);
}

# Whether nothing waits, and what the loop listens to then.
sub settle {
  return unless $connected and !length $to_host and !length $to_agent;
  for my $channel (values %channels) { return if length $channel->{out} }
  $everyone = '';
  vec($everyone, $_, 1) = 1 for 0, $port_fd, $agent_fd, keys %by_fd;
  $port_only = only($port_fd);
  %only = map { $_->{client} ? (only($_->{fd}) => $_) : () } values %channels;
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
    elsif ($channel->{client}) {
      my $message = substr $from_host, $at + 6 + $header_size, $size - 2 - $header_size;
      # Without a message: what was said before is not true any more.
      if (!length $message) { forget($channel); $at += 4 + $size; next }
      learn($channel, \$message);
      $channel->{out} .= $message;
      flush_client($channel);
    }
    $at += 4 + $size;
  }
  substr($from_host, 0, $at) = '' if $at;
  flush_to($agent, \$to_agent) if length $to_agent;
}

sub hear_client {
  my ($channel) = @_;
  return accept_client($channel) unless $channel->{client};
  heard_client($channel, scalar sysread $channel->{client}, $channel->{in}, $piece, length $channel->{in});
}

# `read`: what the client gave.
sub heard_client {
  my ($channel, $read) = @_;
  return if !defined $read and ($! == EAGAIN or $! == EINTR);
  return cut_off($channel) if !$read;
  my $at = 0;
  while (length($channel->{in}) - $at >= 4) {
    my $size = unpack 'V', substr($channel->{in}, $at, 4);
    return cut_off($channel) if $size > $largest_message or $size < $smallest_message;
    last if length($channel->{in}) - $at < $size;
    my $message = substr $channel->{in}, $at, $size;
    to_host(frame($channel->{header}, $size) . $message) unless answered($channel, \$message);
    $at += $size;
  }
  substr($channel->{in}, 0, $at) = '' if $at;
}

# Whether a client's message is dealt with. Things are known by the last eight bytes of their qids (`ino`, by fid).
sub answered {
  my ($channel, $message) = @_;
  my (undef, $type, $tag, $fid) = unpack 'VCvV', $$message;
  $fid = -1 unless defined $fid;
  my $inos = $channel->{ino};
  my $ino = $inos->{$fid};
  if ($type == $GETATTR) {
    return 0 unless defined $ino;
    my $known = $channel->{attributes}{$ino};
    if ($known and $known->[0] > now()) {
      to_client($channel, pack('VCv', length $known->[1], $GETATTR + 1, $tag) . substr $known->[1], 7);
      return 1;
    }
    $channel->{asked}{$tag} = [$type, $channel->{changes}, $ino];
    return 0;
  }
  if ($type == $WALK) {
    my (undef, $newfid, $names) = unpack 'x7 VVv', $$message;
    if (!defined $names) { return 0 }
    my $key;
    if (defined $ino and $names < 2 and !exists $inos->{$newfid}) {
      if (!$names) {
        $inos->{$newfid} = $ino;
        return silently($channel, $message, pack 'VCvv', 9, $WALK + 1, $tag, 0);
      }
      $key = $ino . substr $$message, 17;
      my $known = $channel->{names}{$key};
      if ($known and $known->[0] > now()) {
        $inos->{$newfid} = substr $known->[1], 5;
        return silently($channel, $message, pack('VCvv', 22, $WALK + 1, $tag, 1) . $known->[1]);
      }
    }
    $channel->{asked}{$tag} = [$type, $channel->{changes}, $newfid, $names, $key];
    return 0;
  }
  if ($type == $CLUNK) {
    my $wrote = delete $channel->{writes}{$fid};
    return 0 if !defined delete $inos->{$fid} or $wrote;
    return silently($channel, $message, pack 'VCv', 7, $CLUNK + 1, $tag);
  }
  if ($type == $READ) {
    my $known = defined $ino ? $channel->{contents}{$ino} : undef;
    return 0 unless $known and $known->[0] > now();
    my ($offset, $beyond, $count) = unpack 'x11 VVV', $$message;
    return 0 if !defined $count or $beyond;
    my $bytes = $offset < length $known->[1] ? substr $known->[1], $offset, $count : '';
    to_client($channel, pack('VCvV', 11 + length $bytes, $READ + 1, $tag, length $bytes) . $bytes);
    return 1;
  }
  if ($type == $LOPEN) {
    my $flags = unpack 'x11 V', $$message;
    if (!defined $flags or $flags & $changing_flags) {
      $channel->{writes}{$fid} = 1;
      changed($channel, $ino);
    } elsif (defined $ino) {
      $channel->{asked}{$tag} = [$type, $channel->{changes}, $ino];
    }
    return 0;
  }
  return 0 if $looks{$type};
  if ($type == $WRITE or $type == $SETATTR) { changed($channel, $ino) }
  elsif ($type == $LCREATE) {
    $channel->{writes}{$fid} = 1;
    changed($channel, $ino);
    my $name = unpack 'x11 v/a', $$message;
    my $key = defined $ino && defined $name ? $ino . pack 'v/a', $name : undef;
    delete $channel->{names}{$key} if defined $key;
    $channel->{asked}{$tag} = [$type, $channel->{changes}, $fid, $ino, $key];
  } elsif ($type == $UNLINKAT and defined $ino) {
    my ($name, $flags) = unpack 'x11 v/a V', $$message;
    my $gone = defined $flags && !($flags & $remove_folder) ? delete $channel->{names}{$ino . pack 'v/a', $name} : undef;
    if ($gone) {
      changed($channel, $ino);
      delete $channel->{attributes}{substr $gone->[1], 5};
      $channel->{asked}{$tag} = [$type, $channel->{changes}, $ino];
    } else { forget($channel) }
  } elsif ($type == $ATTACH) { $channel->{asked}{$tag} = [$type, $channel->{changes}, $fid] }
  else {
    forget($channel);
    %$inos = () if $type == $VERSION;
  }
  return 0;
}

# To the host with what it is asked next, and answered here.
sub silently {
  my ($channel, $message, $answer) = @_;
  substr($$message, 5, 2) = pack 'v', $silent_tag;
  $held .= pack('N', $channel->{overhead} + length $$message) . $channel->{start} . $$message;
  to_client($channel, $answer);
  return 1;
}

# Something changes a file's or folder's attributes or content. What the host was asked before is not kept when it is answered.
sub changed {
  my ($channel, $ino) = @_;
  return forget($channel) unless defined $ino;
  $channel->{changes}++;
  delete $channel->{attributes}{$ino};
  delete $channel->{contents}{$ino};
}

sub forget {
  my ($channel) = @_;
  $channel->{changes}++;
  ($channel->{names}, $channel->{attributes}, $channel->{contents}) = ({}, {}, {});
}

# Keeps what the host says, and takes from its answer what the client did not ask for.
sub learn {
  my ($channel, $message) = @_;
  my ($size, $type, $tag) = unpack 'VCv', $$message;
  my @ahead;
  while (length $$message > $size) {
    my $more = unpack 'x' . $size . 'V', $$message;
    die "nothing ahead" if $more < 7 or $size + $more > length $$message;
    push @ahead, substr $$message, $size, $more, '';
  }
  my $asked = delete $channel->{asked}{$tag};
  return if !$asked or $type == $LERROR;
  my ($what, $changes, $of, $other, $key) = @$asked;
  if ($what == $WALK) {
    my $found = unpack 'x7 v', $$message;
    return if $found != $other or !$found;
    my $qid = substr $$message, -13;
    $channel->{ino}{$of} = substr $qid, 5;
    return if $changes != $channel->{changes};
    my $until = $good_for + now();
    if (defined $key) {
      forget($channel) if keys %{$channel->{names}} >= $most_known;
      $channel->{names}{$key} = [$until, $qid];
    }
    return if !@ahead;
    $channel->{attributes}{substr $qid, 5} = [$until, $ahead[0]];
    # Files beside it, each as the entry of a listing and its attributes.
    my $folder = defined $key && substr $key, 0, 8;
    for (my $at = 1; $at + 1 < @ahead and $folder; $at += 2) {
      $channel->{names}{$folder . substr $ahead[$at], 33} = [$until, substr($ahead[$at], 11, 13)];
      $channel->{attributes}{substr $ahead[$at], 16, 8} = [$until, $ahead[$at + 1]];
    }
  } elsif ($what == $GETATTR) {
    $channel->{attributes}{$of} = [$good_for + now(), $$message] if $changes == $channel->{changes};
  } elsif ($what == $LOPEN) {
    return if $changes != $channel->{changes} or @ahead < 2;
    my $until = $good_for + now();
    $channel->{attributes}{$of} = [$until, $ahead[0]];
    # Of one file at a time: it is read right after it was opened.
    $channel->{contents} = { $of => [$until, substr $ahead[1], 11] };
  } elsif ($what == $LCREATE) {
    my $qid = substr $$message, 7, 13;
    my $ino = substr $qid, 5;
    $channel->{ino}{$of} = $ino;
    delete $channel->{contents}{$ino};
    delete $channel->{attributes}{$ino};
    return if $changes != $channel->{changes} or @ahead < 2;
    my $until = $good_for + now();
    $channel->{names}{$key} = [$until, $qid] if defined $key;
    $channel->{attributes}{$ino} = [$until, $ahead[0]];
    $channel->{attributes}{$other} = [$until, $ahead[1]] if defined $other;
  } elsif ($what == $UNLINKAT) {
    $channel->{attributes}{$of} = [$good_for + now(), $ahead[0]] if @ahead and $changes == $channel->{changes};
  } elsif ($what == $ATTACH) {
    $channel->{ino}{$of} = substr $$message, 12, 8;
  }
}

sub to_client {
  my ($channel, $message) = @_;
  $channel->{out} .= $message;
  flush_client($channel);
}

sub accept_client {
  my ($channel) = @_;
  accept(my $client, $channel->{socket}) or return;
  unblock($client);
  delete $by_fd{$channel->{fd}};
  close $channel->{socket};
  $channel->{socket} = undef;
  $channel->{client} = $client;
  $channel->{fd} = fileno $client;
  $by_fd{$channel->{fd}} = $channel;
  $quiet = 0;
}

sub flush_client {
  my ($channel) = @_;
  flush_to($channel->{client}, \$channel->{out}) or cut_off($channel);
}

# The host hears of it, if it has heard of the connection.
sub cut_off {
  my ($channel) = @_;
  $quiet = 0;
  delete $by_fd{$channel->{fd}};
  delete $by_header{$channel->{header}};
  delete $by_header{$channel->{closing}};
  delete $channels{$channel->{number}};
  close $channel->{socket} if $channel->{socket};
  close $channel->{client} if $channel->{client};
  to_host(frame($channel->{closing}, 0)) if $channel->{client} and $connected;
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

sub make {
  my ($number, $path, $header, $closing) = @_;
  socket(my $socket, $AF_UNIX, $SOCK_STREAM, 0) or die "socket: $!";
  unlink $path;
  bind($socket, pack('S a*', $AF_UNIX, "$path\0")) or die "$path: $!";
  listen($socket, 1) or die "$path: $!";
  unblock($socket);
  my $channel = {
    number => $number, socket => $socket, client => undef, fd => fileno $socket,
    header => pack('H*', $header), closing => pack('H*', $closing), in => '', out => '',
    ino => {}, writes => {}, names => {}, attributes => {}, contents => {}, asked => {}, changes => 0,
  };
  $channel->{header_size} = length $channel->{header};
  $channel->{overhead} = 2 + length $channel->{header};
  $channel->{start} = pack('n', length $channel->{header}) . $channel->{header};
  $quiet = 0;
  $channels{$number} = $channel;
  $by_fd{$channel->{fd}} = $channel;
  $by_header{$channel->{header}} = $channel;
  $by_header{$channel->{closing}} = $channel;
  report("made $number");
}
