# Stands at the port for connections, and carries their bytes between the sessions' sockets and the host by itself: an emulated machine runs Node
# slowly. What an address stands for, whether it is asked about at all and what a name's address is, the agent says; what may be reached is
# decided on the host.
#
#   port      frames (frames.ts, net-wire.ts)
#   stdin     from the agent     net NET PID             sockets in the network namespace of that process
#                                close NET
#                                carry N HEADER          says so to the host (header in hex), and carries
#                                refuse N
#                                answer NET FROM BYTES   a name's, in hex; BYTES - for none
#   stdout    to the agent       made NET | failed NET WHY
#                                accepted N NET ADDRESS PORT     address in hex; nothing is read before the agent has said what to do
#                                asked NET FROM BYTES            of the resolver
#
# Each direction has credit. A program's socket is read no faster than the host gives it, and what the host sends is less than it was given. Nothing
# here waits for a reader. Whatever cannot be is a defect and ends this process, and the agent with it.
use strict;
use warnings;
use Fcntl qw(O_RDONLY O_RDWR O_NONBLOCK F_GETFL F_SETFL);
use Errno qw(EAGAIN EINTR);

my ($port_path, $arch, $proxy_port, $resolver, $window, $credit_step, $largest_piece, $most_connections) = @ARGV;
my $arm = $arch eq 'arm64';
# From the kernel's asm/unistd_64.h and asm-generic/unistd.h.
my %call = $arm
  ? (create => 20, control => 21, wait => 22, readv => 65, setns => 268, prlimit => 261)
  : (create => 291, control => 233, wait => 281, readv => 19, setns => 308, prlimit => 302);
# struct epoll_event: events, and the descriptor where it has data. Packed on one, aligned on the other.
my ($event, $event_size) = $arm ? ('Lx4Lx4', 16) : ('LLx4', 12);
my ($ADD, $DELETE, $CHANGE) = (1, 2, 3);
my ($IN, $OUT) = (1, 4);
my ($CLONE_NEWNET, $LIMIT_FILES) = (0x4000_0000, 7);
my ($INET, $INET6, $STREAM, $DATAGRAM) = (2, 10, 1, 2);
my ($SOL_SOCKET, $REUSEADDR, $LINGER, $SOL_TCP, $NODELAY) = (1, 2, 13, 6, 1);
# Of IP and of IPv6: where a socket may stand for any address.
my ($TRANSPARENT, $TRANSPARENT6, $V6ONLY) = ([0, 19], [41, 75], [41, 26]);
my $NO_DELAY_TO_END = pack 'ii', 1, 0;
# More than this waiting for the host, and no program is read.
my $enough = 1 << 20;
# Questions of a session about names that the agent has not answered yet.
my $most_questions = 16;
# Events looked at together.
my $at_once = 64;
# What one read of the port gives at most, and how much is asked for at once: it is served piece by piece in one go.
my ($page, $pages) = (4096, 64);
# Longest header of the host's. What came of the next one stands before the place read to.
my $lead = 4096;

$SIG{PIPE} = 'IGNORE';
my $files = pack 'QQ', 2 * $most_connections, 2 * $most_connections;
syscall($call{prlimit}, 0, $LIMIT_FILES, $files, 0) == 0 or die "limit: $!";
sysopen(my $port, $port_path, O_RDWR | O_NONBLOCK) or die "$port_path: $!";
my $port_fd = fileno $port;
my $epoll = syscall $call{create}, 0;
die "epoll: $!" if $epoll < 0;
open my $own_network, '<', '/proc/self/ns/net' or die "namespace: $!";
my $events = "\0" x ($event_size * $at_once);
# Used again and again. The kernel writes to where it is, so it must stay there.
my $in = "\0" x ($lead + $page * $pages);
substr($in, 0, 1) = "\0";
my $place = address();
my $parts = join '', map { pack 'JJ', $place + $lead + $_ * $page, $page } 0 .. $pages - 1;
my ($to_host, $orders) = ('', '');
my ($connected, $read_before) = (1, 0);
# Of the frame whose payload is coming: how much is to come, and whose it is.
my ($left, $whose) = (0, undef);
# By number; by descriptor what an event on it is for.
my (%connections, %networks, %by_fd);
my $next = 1;
# What is not read because too much waits for the host.
my %held;

listen_to(0, $IN, \&hear_orders);
listen_to($port_fd, $IN, \&hear_host);

while (1) {
  my $found = syscall $call{wait}, $epoll, $events, $at_once, $connected ? -1 : 100, 0, 8;
  if ($found < 0) { next if $! == EINTR; die "wait: $!" }
  my @found = unpack "($event)$found", $events;
  while (@found) {
    my ($what, $fd) = splice @found, 0, 2;
    my $handler = $by_fd{$fd} or next;
    ref $handler eq 'CODE' ? $handler->($what) : serve($handler, $what);
  }
  # While nobody is connected the port is always ready, and has nothing.
  hear_host($IN) unless $connected;
}

sub address { return unpack 'J', pack 'p', $in }

sub listen_to {
  my ($fd, $what, $handler) = @_;
  $by_fd{$fd} = $handler;
  interest($fd, $ADD, $what);
}

sub interest {
  my ($fd, $how, $what) = @_;
  # Its fields are 64 bits apart from the first.
  my $wanted = pack $arm ? 'Lx4Q' : 'LQ', $what, $fd;
  syscall($call{control}, $epoll, $how, $fd, $wanted) == 0 or die "epoll $how $fd: $!";
}

sub unblock {
  my ($handle) = @_;
  fcntl($handle, F_SETFL, fcntl($handle, F_GETFL, 0) | O_NONBLOCK) or die "fcntl: $!";
}

sub report {
  my ($line) = @_;
  for (my $at = 0; $at < length $line;) { $at += syswrite(STDOUT, $line, length($line) - $at, $at) // die "stdout: $!" }
}

sub to_host {
  my ($header, $payload) = @_;
  return unless $connected;
  my $idle = !length $to_host;
  $to_host .= pack('Nn', 2 + length($header) + length $payload, length $header) . $header . $payload;
  return unless $idle;
  flush_host();
  interest($port_fd, $CHANGE, $IN | $OUT) if length $to_host;
}

sub flush_host {
  while (length $to_host) {
    my $written = syswrite $port, $to_host;
    if (!$written) {
      return if defined $written or $! == EAGAIN or $! == EINTR;
      die "port: $!";
    }
    substr($to_host, 0, $written) = '';
  }
}

sub hear_host {
  my ($what) = @_;
  if ($what & $OUT and length $to_host) {
    flush_host();
    interest($port_fd, $CHANGE, $IN) if !length $to_host;
    if (%held and length $to_host < $enough) {
      my @held = values %held;
      %held = ();
      want($_) for @held;
    }
    return if $what == $OUT;
  }
  die "the buffer has moved" if address() != $place;
  my $read = syscall $call{readv}, $port_fd, $parts, $pages;
  if ($read < 0) {
    return if $! == EAGAIN or $! == EINTR;
    die "port: $!";
  }
  if ($read == 0) { lost() if $connected; return }
  if (!$connected) {
    $connected = 1;
    interest($port_fd, $ADD, $IN);
  }
  take_frames($lead - $read_before, $lead + $read);
}

# What came of a frame's beginning is kept before the place that is read to. A payload goes on as it comes.
sub take_frames {
  my ($at, $end) = @_;
  while ($at < $end) {
    if ($left) {
      my $size = $left < $end - $at ? $left : $end - $at;
      deliver($whose, $at, $size) if $whose and !$whose->{gone};
      $at += $size;
      $left -= $size;
      next;
    }
    last if $end - $at < 6;
    my ($size, $header_size) = unpack 'Nn', substr $in, $at, 6;
    die "no frame" if $header_size < 2 or $header_size > $lead - 6 or $header_size + 2 > $size;
    last if $end - $at < 6 + $header_size;
    my $header = substr $in, $at + 6, $header_size;
    $left = $size - 2 - $header_size;
    $whose = undef;
    $at += 6 + $header_size;
    if ($header =~ /^\{"n":(\d+),"net":"(\w+)"(?:,"bytes":(\d+))?\}$/) {
      if ($2 eq 'echo') { to_host($header, '') }
      elsif (my $connection = $connections{$1}) {
        if ($2 eq 'data') { $whose = $connection }
        elsif ($2 eq 'credit') {
          $connection->{credit} += $3;
          $connection->{credit} = $window if $connection->{credit} > $window;
          want($connection);
        } elsif ($2 eq 'end') {
          $connection->{ends} = 1;
          end_program($connection) if !length $connection->{out};
        } elsif ($2 eq 'reset') { cut_off($connection) }
      }
    }
  }
  $read_before = $end - $at;
  substr($in, $lead - $read_before, $read_before) = substr $in, $at, $read_before if $read_before;
}

# The host has gone, and with it all that went through it; what follows is a new beginning.
sub lost {
  interest($port_fd, $DELETE, 0);
  ($connected, $read_before, $left, $whose, $to_host) = (0, 0, 0, undef, '');
  cut_off($_) for values %connections;
  %held = ();
}

# To the program: so much of what was read.
sub deliver {
  my ($connection, $at, $size) = @_;
  if (length $connection->{out}) {
    $connection->{out} .= substr $in, $at, $size;
    return;
  }
  my $written = syswrite $connection->{socket}, $in, $size, $at;
  if (!defined $written) {
    return broken($connection) unless $! == EAGAIN or $! == EINTR;
    $written = 0;
  }
  if ($written < $size) {
    $connection->{out} = substr $in, $at + $written, $size - $written;
    want($connection);
  }
  took($connection, $written) if $written;
}

# What the host may not have sent for want of credit is more than what is kept back here.
sub took {
  my ($connection, $bytes) = @_;
  $connection->{taken} += $bytes;
  return if $connection->{taken} < $credit_step;
  to_host(qq({"n":$connection->{n},"net":"credit","bytes":$connection->{taken}}), '');
  $connection->{taken} = 0;
}

# An event of a program's socket.
sub serve {
  my ($connection, $what) = @_;
  flush_program($connection) if $what & $OUT or length $connection->{out};
  read_program($connection) if $what & ~$OUT and !$connection->{gone} and wants_reading($connection);
}

sub flush_program {
  my ($connection) = @_;
  while (length $connection->{out}) {
    my $written = syswrite $connection->{socket}, $connection->{out};
    if (!defined $written) {
      return if $! == EAGAIN or $! == EINTR;
      return broken($connection);
    }
    substr($connection->{out}, 0, $written) = '';
    took($connection, $written);
  }
  $connection->{ends} ? end_program($connection) : want($connection);
}

sub read_program {
  my ($connection) = @_;
  return hold($connection) if length $to_host >= $enough;
  my $most = $connection->{credit} < $largest_piece ? $connection->{credit} : $largest_piece;
  my $read = sysread $connection->{socket}, my $bytes, $most;
  if (!defined $read) {
    return if $! == EAGAIN or $! == EINTR;
    return broken($connection);
  }
  if ($read == 0) {
    $connection->{ended} = 1;
    to_host(qq({"n":$connection->{n},"net":"end"}), '');
    return finish($connection) if $connection->{shut};
    return want($connection);
  }
  $connection->{credit} -= $read;
  to_host($connection->{data}, $bytes);
  want($connection) if $connection->{credit} <= 0;
}

sub hold {
  my ($connection) = @_;
  $held{$connection->{n}} = $connection;
  want($connection);
}

sub wants_reading {
  my ($connection) = @_;
  return $connection->{carried} && !$connection->{ended} && $connection->{credit} > 0 && !$held{$connection->{n}};
}

# Listens to a program's socket for what is of use. One that nothing is wanted of is not listened to: its end would be told again and again.
sub want {
  my ($connection) = @_;
  return if $connection->{gone};
  my $wanted = (wants_reading($connection) ? $IN : 0) | (length $connection->{out} ? $OUT : 0);
  my $before = $connection->{wanted};
  return if $wanted == $before;
  interest($connection->{fd}, !$before ? $ADD : $wanted ? $CHANGE : $DELETE, $wanted);
  $connection->{wanted} = $wanted;
}

# The host has said its last, and the program has been told all of it.
sub end_program {
  my ($connection) = @_;
  return if $connection->{shut};
  $connection->{shut} = 1;
  shutdown $connection->{socket}, 1;
  return finish($connection) if $connection->{ended};
  want($connection);
}

# The program is gone, or takes no more.
sub broken {
  my ($connection) = @_;
  to_host(qq({"n":$connection->{n},"net":"reset"}), '');
  cut_off($connection);
}

# The program sees it break off.
sub cut_off {
  my ($connection) = @_;
  setsockopt $connection->{socket}, $SOL_SOCKET, $LINGER, $NO_DELAY_TO_END;
  finish($connection);
}

sub finish {
  my ($connection) = @_;
  return if $connection->{gone};
  $connection->{gone} = 1;
  delete $connections{$connection->{n}};
  delete $held{$connection->{n}};
  delete $by_fd{$connection->{fd}};
  # With it goes what is listened to.
  close $connection->{socket};
}

sub accept_some {
  my ($network, $listener) = @_;
  while (accept(my $socket, $listener)) {
    if (keys %connections >= $most_connections or !$connected) {
      setsockopt $socket, $SOL_SOCKET, $LINGER, $NO_DELAY_TO_END;
      close $socket;
      next;
    }
    unblock($socket);
    my ($n, $fd) = ($next++, fileno $socket);
    my $connection = $connections{$n} = {
      n => $n, socket => $socket, fd => $fd, data => qq({"n":$n,"net":"data"}), credit => $window, taken => 0, out => '', wanted => 0,
      carried => 0, ended => 0, ends => 0, shut => 0, gone => 0,
    };
    $by_fd{$fd} = $connection;
    # Where it was meant to go.
    my $to = getsockname $socket;
    my ($port, $address) = unpack('S', $to) == $INET ? unpack 'x2 n a4', $to : unpack 'x2 n x4 a16', $to;
    report("accepted $n $network " . unpack('H*', $address) . " $port\n");
  }
  die "accept: $!" unless $! == EAGAIN or $! == EINTR or $! == 103;
}

sub hear_question {
  my ($network) = @_;
  while ($network->{questions} < $most_questions) {
    my $from = recv $network->{names}, my $query, 512, 0;
    return if !defined $from;
    $network->{questions}++;
    report("asked $network->{id} " . unpack('H*', $from) . ' ' . unpack('H*', $query) . "\n");
  }
  # The rest waits in the socket, as much as there is room for.
  interest(fileno $network->{names}, $DELETE, 0);
}

sub answer_question {
  my ($network, $from, $bytes) = @_;
  send $network->{names}, pack('H*', $bytes), 0, pack 'H*', $from if $bytes ne '-';
  interest(fileno $network->{names}, $ADD, $IN) if $network->{questions}-- >= $most_questions;
}

sub hear_orders {
  my $read = sysread STDIN, $orders, 1 << 16, length $orders;
  return if !defined $read and $! == EINTR;
  exit 0 if !$read;
  my $done = 0;
  while ((my $end = index $orders, "\n", $done) >= 0) {
    my ($order, $id, @rest) = split / /, substr $orders, $done, $end - $done;
    $done = $end + 1;
    if ($order eq 'net') { open_network($id, @rest) }
    elsif ($order eq 'close') { close_network($id) }
    elsif ($order eq 'answer') { answer_question($networks{$id}, @rest) if $networks{$id} }
    elsif (my $connection = $connections{$id}) {
      if ($order eq 'refuse') { cut_off($connection) }
      elsif ($order eq 'carry') {
        $connection->{carried} = 1;
        to_host(pack('H*', $rest[0]), '');
        want($connection);
      }
    }
  }
  substr($orders, 0, $done) = '';
}

# Makes them there and comes back; with any of them missing there is none.
sub open_network {
  my ($id, $pid) = @_;
  my $made = eval {
    open my $there, '<', "/proc/$pid/ns/net" or die "no process: $!\n";
    enter($there);
    my %made = eval {
      # Each send is one of the host's pieces: it need not be joined with others.
      my @listeners = (listener($INET, $TRANSPARENT, pack 'S n a4 x8', $INET, $proxy_port, pack 'C4', 127, 0, 0, 1));
      my $six = eval { listener($INET6, $TRANSPARENT6, pack 'S n x4 a16 x4', $INET6, $proxy_port, ("\0" x 15) . "\1") };
      push @listeners, $six if $six;
      socket(my $names, $INET, $DATAGRAM, 0) or die "socket: $!\n";
      bind $names, pack 'S n a4 x8', $INET, 53, pack 'C4', split /\./, $resolver or die "resolver: $!\n";
      unblock($names);
      (id => $id, listeners => \@listeners, names => $names, questions => 0);
    };
    my $why = $@;
    enter($own_network);
    die $why unless %made;
    \%made;
  };
  return report('failed ' . $id . ' ' . ($@ =~ s/\s+/ /gr) . "\n") unless $made;
  $networks{$id} = $made;
  for my $listener (@{$made->{listeners}}) {
    listen_to(fileno $listener, $IN, sub { accept_some($id, $listener) });
  }
  listen_to(fileno $made->{names}, $IN, sub { hear_question($made) });
  report("made $id\n");
}

sub enter {
  my ($namespace) = @_;
  syscall($call{setns}, fileno $namespace, $CLONE_NEWNET) == 0 or die "namespace: $!\n";
}

sub listener {
  my ($family, $transparent, $address) = @_;
  socket(my $made, $family, $STREAM, 0) or die "socket: $!\n";
  my @options = ([$SOL_SOCKET, $REUSEADDR], $family == $INET6 ? $V6ONLY : (), $transparent, [$SOL_TCP, $NODELAY]);
  for (@options) { setsockopt($made, $_->[0], $_->[1], pack 'i', 1) or die "option: $!\n" }
  bind $made, $address or die "bind: $!\n";
  listen $made, 1024 or die "listen: $!\n";
  unblock($made);
  return $made;
}

sub close_network {
  my ($id) = @_;
  my $network = delete $networks{$id} or return;
  for (@{$network->{listeners}}, $network->{names}) {
    delete $by_fd{fileno $_};
    close $_;
  }
}
