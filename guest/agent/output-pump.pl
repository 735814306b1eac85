# Carries what commands write from their pipes to the host, and into a file on the way. In Perl, which is in every Debian and does this with
# one read and one write for half a MiB: an emulated machine copies slowly, and runs Node slower. (Splicing would spare a copy, but a session can
# make QEMU find a buffer of no size on the port then, which is the end of all ports.) Whole pages of a long output go to its file past the
# kernel's cache, straight from where they were read to: copied into the cache, each would have to be found, cleared, filled and written back later.
#
#   port      frames (frames.ts)    to the host: out, echo; from it: credit, echo
#   stdin     from the agent        open ID STDOUT STDERR CREDIT FILE|-    finish ID    drop ID
#   stdout    to the agent          kept ID    ended ID SENT KEPT    quiet ID SENT KEPT
#
# A command's streams are read no faster than the host gives credit. `finish`: its process is gone; answered by `quiet` when nothing has come
# for a while and writers are left. `drop`: from now on what comes is read and thrown away. `ended` is the last that is said of it: no
# writer is left and all was sent. Whatever cannot be is a defect and ends this process, and the agent with it.
use strict;
use warnings;
use Fcntl qw(O_RDONLY O_RDWR O_WRONLY O_CREAT O_EXCL O_NONBLOCK);

my ($port_path, $arch, $kept_after, $kept_file, $quiet_ms, $piece) = @ARGV;
my $CLOCK_GETTIME = $arch eq 'arm64' ? 113 : 228;
my $SETPIPE_SIZE = 1031;
# More than the usual 64 KiB: a writer that must wait less often is switched to and from less often.
my $pipe_size = 1 << 20;
# A read this large means that there is more.
my ($small, $large) = (1 << 16, 1 << 15);
# What goes past the cache begins and ends at one of these, in memory and in the file; less than some of them is not worth it.
my ($page, $direct_least) = (4096, 1 << 16);
my $O_DIRECT = $arch eq 'arm64' ? 0x1_0000 : 0x4000;
# What is less than a piece is left to gather for a moment then, ms: this process goes before the writer, and would be woken for each of its writes.
my $gather_ms = 4;

$SIG{PIPE} = 'IGNORE';
sysopen(my $port, $port_path, O_RDWR) or die "$port_path: $!";
my $port_fd = fileno $port;
# Used again and again: memory the kernel has to give first is what costs most.
my $buffer = "\0" x ($piece + 2 * $page);
my (%commands, %streams);
my ($from_agent, $from_host) = ('', '');

while (1) {
  my $ready = '';
  vec($ready, 0, 1) = 1;
  vec($ready, $port_fd, 1) = 1;
  my ($now, $due) = (now(), undef);
  for my $fd (keys %streams) {
    my $stream = $streams{$fd};
    my $command = $stream->{command};
    if ($command->{dropping}) { vec($ready, $fd, 1) = 1 }
    elsif ($command->{credit} < least($stream)) { next }
    elsif ($stream->{gathers} > $now) { $due = $stream->{gathers} if !defined $due or $stream->{gathers} < $due }
    else { vec($ready, $fd, 1) = 1 }
  }
  for my $command (values %commands) {
    next unless $command->{finishing};
    my $then = $command->{last} + $quiet_ms;
    $due = $then if !defined $due or $then < $due;
  }
  my $wait = defined $due ? ($due > $now ? ($due - $now) / 1000 + 0.0005 : 0) : undef;
  select($ready, undef, undef, $wait) >= 0 or next;
  hear_host() if vec($ready, $port_fd, 1);
  for my $fd (keys %streams) {
    carry($streams{$fd}) if vec($ready, $fd, 1) and $streams{$fd};
  }
  hear_agent() if vec($ready, 0, 1);
  for my $command (values %commands) {
    tell_quiet($command) if $command->{finishing} and now() - $command->{last} >= $quiet_ms;
  }
}

sub now {
  my $time = pack 'qq', 0, 0;
  syscall($CLOCK_GETTIME, 1, $time);
  my ($seconds, $nanoseconds) = unpack 'qq', $time;
  return $seconds * 1000 + $nanoseconds / 1e6;
}

sub report {
  my ($line) = @_;
  write_all(\*STDOUT, "$line\n");
}

sub write_all {
  my ($to, undef, $from) = @_;
  for (my $at = $from // 0; $at < length $_[1];) {
    my $written = syswrite $to, $_[1], length($_[1]) - $at, $at;
    die "write: $!" unless defined $written;
    # Nobody is connected to the port.
    select(undef, undef, undef, 0.1) if $written == 0;
    $at += $written;
  }
}

sub frame {
  my ($header, $length) = @_;
  return pack('Nn', 2 + length($header) + $length, length $header) . $header;
}

sub hear_agent {
  my $read = sysread STDIN, $from_agent, $small, length $from_agent;
  exit 0 if !$read;
  while ($from_agent =~ s/^([^\n]*)\n//) {
    my ($order, $id, @rest) = split / /, $1;
    if ($order eq 'open') { open_command($id, @rest) }
    elsif (my $command = $commands{$id}) {
      if ($order eq 'finish') { $command->{finishing} = 1 }
      elsif ($order eq 'drop') { drop($command) }
    }
  }
}

sub open_command {
  my ($id, $stdout, $stderr, $credit, $file) = @_;
  my $command = $commands{$id} = {
    id => $id, credit => $credit, sent => 0, left => 0, last => now(), finishing => 0, dropping => 0,
    file => $file eq '-' ? undef : $file, kept => undef, direct => undef, kept_bytes => 0, held => '',
  };
  for my $stream (['stdout', $stdout], ['stderr', $stderr]) {
    my ($name, $path) = @$stream;
    sysopen(my $pipe, $path, O_RDONLY | O_NONBLOCK) or die "$path: $!";
    $streams{fileno $pipe} = { command => $command, pipe => $pipe, header => qq({"t":"out","id":$id,"stream":"$name"}), large => 0, gathers => 0 };
    $command->{left}++;
  }
}

sub drop {
  my ($command) = @_;
  $command->{dropping} = 1;
  $command->{finishing} = 0;
  $command->{held} = '';
  end_file($command);
}

# Asked for once; whoever still wants to know asks again.
sub tell_quiet {
  my ($command) = @_;
  # What waits for credit has come.
  for my $stream (grep { $_->{command} == $command } values %streams) {
    if (waiting($stream)) { $command->{last} = now(); return }
  }
  $command->{finishing} = 0;
  report("quiet $command->{id} $command->{sent} $command->{kept_bytes}");
}

sub end_stream {
  my ($stream) = @_;
  my $command = $stream->{command};
  delete $streams{fileno $stream->{pipe}};
  close $stream->{pipe};
  return if --$command->{left};
  end_file($command);
  delete $commands{$command->{id}};
  report("ended $command->{id} $command->{sent} $command->{kept_bytes}");
}

sub carry {
  my ($stream) = @_;
  my $command = $stream->{command};
  if ($command->{dropping}) {
    my $read = sysread($stream->{pipe}, my $bytes, $small);
    end_stream($stream) if defined $read and $read == 0;
    return;
  }
  # The other stream may have used it up meanwhile.
  return if $command->{credit} < least($stream);
  if ($stream->{large} && !$stream->{gathers}) {
    my $waiting = waiting($stream);
    if ($waiting && $waiting < $piece) {
      $stream->{gathers} = now() + $gather_ms;
      return;
    }
  }
  $stream->{gathers} = 0;
  my $most = $stream->{large} ? $piece : $small;
  $most = $command->{credit} if $command->{credit} < $most;
  my $at = place($command);
  my $read = sysread $stream->{pipe}, $buffer, $most, $at;
  return unless defined $read;
  return end_stream($stream) if $read == 0;
  keep($command, $at, $read) if defined $command->{file};
  write_all($port, frame($stream->{header}, $read));
  write_all($port, $buffer, $at);
  $command->{credit} -= $read;
  $command->{sent} += $read;
  $command->{last} = now();
  if (!$stream->{large} && $read >= $large) {
    $stream->{large} = 1;
    fcntl($stream->{pipe}, $SETPIPE_SIZE, $pipe_size);
  }
}

# Credit it waits for: a long output goes in whole pieces, and the host gives more before less than one is left.
sub least {
  my ($stream) = @_;
  return $stream->{large} ? $piece : 1;
}

sub waiting {
  my ($stream) = @_;
  my $bytes = pack 'i', 0;
  ioctl($stream->{pipe}, 0x541b, $bytes);
  return unpack 'i', $bytes;
}

# Where in the buffer the command's output is read to: as far behind a page's border as the end of its file is.
sub place {
  my ($command) = @_;
  my $border = -unpack('J', pack 'p', $buffer) & $page - 1;
  return $border + ($command->{kept_bytes} & $page - 1);
}

# What was read, into the file, which begins when there is enough for one.
sub keep {
  my ($command, $at, $read) = @_;
  if (!$command->{kept}) {
    $command->{held} .= substr $buffer, $at, $read;
    begin_file($command) if length $command->{held} > $kept_after;
    return;
  }
  my $room = $kept_file - $command->{kept_bytes};
  my $length = $room < $read ? $room : $read;
  my $before = -$command->{kept_bytes} & $page - 1;
  my $pages = $length > $before ? $length - $before & ~($page - 1) : 0;
  # The buffer may have moved since its place was chosen.
  if (!$command->{direct} || $pages < $direct_least || $at != place($command)) { ($before, $pages) = ($length, 0) }
  # A full disk ends the file, not the command.
  write_file($command, 'kept', $at, $before) or return end_file($command);
  write_file($command, 'direct', $at + $before, $pages) or return end_file($command);
  write_file($command, 'kept', $at + $before + $pages, $length - $before - $pages) or return end_file($command);
  end_full_file($command) if $read > $room;
}

# False when it did not take all of it.
sub write_file {
  my ($command, $how, $at, $length) = @_;
  return 1 if $length == 0;
  sysseek $command->{$how}, $command->{kept_bytes}, 0;
  my $written = syswrite $command->{$how}, $buffer, $length, $at;
  $command->{kept_bytes} += $written // 0;
  return defined $written && $written == $length;
}

sub begin_file {
  my ($command) = @_;
  return end_file($command) if !sysopen($command->{kept}, $command->{file}, O_WRONLY | O_CREAT | O_EXCL, 0444);
  report("kept $command->{id}");
  my $written = syswrite $command->{kept}, $command->{held};
  $command->{held} = '';
  return end_file($command) if !defined $written;
  $command->{kept_bytes} = $written;
  # A folder in memory, where there is no disk, knows no such thing.
  $command->{direct} = undef if !sysopen($command->{direct}, $command->{file}, O_WRONLY | $O_DIRECT);
}

sub end_full_file {
  my ($command) = @_;
  sysseek $command->{kept}, $command->{kept_bytes}, 0 if $command->{kept};
  syswrite $command->{kept}, "\n[bulkhead: what follows the first $kept_file bytes is not kept]\n" if $command->{kept};
  end_file($command);
}

# Nothing more goes into it.
sub end_file {
  my ($command) = @_;
  for my $how ('kept', 'direct') {
    close $command->{$how} if $command->{$how};
    $command->{$how} = undef;
  }
  $command->{file} = undef;
}

sub hear_host {
  my $read = sysread $port, $from_host, $small, length $from_host;
  die "port: $!" unless defined $read;
  # Nobody is connected: half a frame will never be whole.
  if ($read == 0) { $from_host = ''; select(undef, undef, undef, 0.1); return }
  while (length $from_host >= 6) {
    my ($size, $header_size) = unpack 'Nn', $from_host;
    die "no frame" if $size > $small or $header_size + 2 > $size;
    return if length $from_host < 4 + $size;
    my $header = substr $from_host, 6, $header_size;
    substr($from_host, 0, 4 + $size) = '';
    if ($header =~ /^\{"t":"credit","id":(\d+),"bytes":(\d+)\}$/) { $commands{$1}{credit} += $2 if $commands{$1} }
    elsif ($header =~ /^\{"t":"echo","id":(\d+)\}$/) { write_all($port, frame($header, 0)) }
  }
}
