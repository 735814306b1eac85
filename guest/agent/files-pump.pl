# Stands at the files port, and carries connected folders between the kernel's 9P clients and the host by itself: an emulated machine runs Node
# slowly, and each look at a file is several messages. All else on the port goes to the agent and comes from it, as it is.
#
#   port      frames (frames.ts)   of folders: one 9P message each; others are the agent's
#   stdin     from the agent       open N SOCKET HEADER CLOSING    makes the socket, for one client; headers of its frames, in hex
#                                  drop N      its client is cut off
#   stdout    to the agent         made N
#   fd 3      both ways            the agent's frames
#
# Two kinds of message are answered here, because the way to the host takes longer than all else: a clunk of what was only looked up, which the host
# gets with the tag of those it does not answer; and attributes that came ahead with a walk's answer, for as long as nothing else happens on that
# connection, a moment at most.
#
# Nothing here waits for a reader: what cannot be written is kept, and its source is not read meanwhile. Whatever cannot be is a defect and ends
# this process, and the agent with it.
use strict;
use warnings;
use Time::HiRes qw(time);
use Fcntl qw(O_RDWR O_NONBLOCK F_GETFL F_SETFL);
use Errno qw(EAGAIN EINTR);

my ($port_path, $largest_frame, $largest_message, $smallest_message, $silent_tag) = @ARGV;
my ($AF_UNIX, $SOCK_STREAM) = (1, 1);
my ($LOPEN, $LCREATE, $GETATTR, $WALK, $CLUNK) = (12, 14, 24, 110, 120);
# A look-up asks for attributes once, and whoever looked once more. Seconds that they are good for.
my ($times_good, $good_for) = (2, 0.02);
# More than this waiting to be written, and its source is not read.
my $enough = 1 << 20;
my $piece = 1 << 18;
# What one read of the port gives at most.
my $page = 4096;

$SIG{PIPE} = 'IGNORE';
sysopen(my $port, $port_path, O_RDWR | O_NONBLOCK) or die "$port_path: $!";
open(my $agent, '+<&=', 3) or die "agent: $!";
unblock($agent);
my ($port_fd, $agent_fd) = (fileno $port, fileno $agent);
# What came and is no whole frame yet; what is still to be written.
my ($from_host, $to_host, $from_agent, $to_agent, $orders) = ('', '', '', '', '');
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
  if (select($ready, undef, undef, undef) < 0) { next if $! == EINTR; die "select: $!" }
  if ($ready eq $port_only) {
    my $read = sysread $port, $from_host, $piece, length $from_host;
    if ($read and $read > 6 and $read < $page and $read == length $from_host) {
      my ($size, $header_size) = unpack 'Nn', $from_host;
      my $channel = $size == $read - 4 ? $by_header{substr $from_host, 6, $header_size} : undef;
      if ($channel and $channel->{client} and $header_size == $channel->{header_size}) {
        $from_host = substr $from_host, 6 + $header_size;
        keep_ahead($channel, \$from_host) if length $from_host > unpack 'V', $from_host;
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
      if (!answered($channel, \$channel->{in})) {
        $to_host .= pack('N', $channel->{overhead} + $read) . $channel->{start} . $channel->{in};
      }
      $channel->{in} = '';
      next unless length $to_host;
      my $written = syswrite $port, $to_host;
      if (defined $written and $written == length $to_host) { $to_host = '' }
      else { substr($to_host, 0, $written // 0) = ''; $quiet = 0 }
      next;
    }
    heard_client($channel, $read);
  } else { serve($ready, '') }
}

# One look at everything there is.
sub turn {
  my ($reads, $writes) = ('', '');
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
  $to_host .= $_[0];
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
    ($from_host, $to_host) = ('', '');
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
      keep_ahead($channel, \$message) if length $message > unpack 'V', $message;
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
  my ($at, $frames) = (0, '');
  while (length($channel->{in}) - $at >= 4) {
    my $size = unpack 'V', substr($channel->{in}, $at, 4);
    return cut_off($channel) if $size > $largest_message or $size < $smallest_message;
    last if length($channel->{in}) - $at < $size;
    my $message = substr $channel->{in}, $at, $size;
    $frames .= frame($channel->{header}, $size) . $message unless answered($channel, \$message);
    $at += $size;
  }
  substr($channel->{in}, 0, $at) = '' if $at;
  to_host($frames) if length $frames;
}

# Whether a client's message is dealt with; one that is for the host may get another tag.
sub answered {
  my ($channel, $message) = @_;
  my (undef, $type, $tag, $fid) = unpack 'VCvV', $$message;
  if ($type == $GETATTR and length $channel->{ahead} and $fid == $channel->{walked} and $channel->{good}-- > 0 and time < $channel->{until}) {
    substr($channel->{ahead}, 5, 2) = pack 'v', $tag;
    to_client($channel, $channel->{ahead});
    return 1;
  }
  ($channel->{ahead}, $channel->{walked}) = ('', -1);
  if ($type == $WALK and length $$message > 15) { $channel->{walked} = unpack 'x11 V', $$message }
  elsif ($type == $LOPEN or $type == $LCREATE) { $channel->{opened}{$fid // -1} = 1 }
  elsif ($type == $CLUNK and defined $fid and !delete $channel->{opened}{$fid}) {
    substr($$message, 5, 2) = pack 'v', $silent_tag;
    to_client($channel, pack 'VCv', 7, $CLUNK + 1, $tag);
  }
  return 0;
}

# Takes from a walk's answer what follows it. It is of no use when the client has asked for something else meanwhile.
sub keep_ahead {
  my ($channel, $message) = @_;
  my $ahead = substr $$message, unpack('V', $$message), length $$message, '';
  return if $channel->{walked} < 0;
  ($channel->{ahead}, $channel->{good}, $channel->{until}) = ($ahead, $times_good, time + $good_for);
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
    ahead => '', walked => -1, good => 0, until => 0, opened => {},
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
