# Carries what commands write from their pipes to the host. In Perl, which is in every Debian and can splice: bytes go from pipe to port, and
# into a file on the way, without passing through this process. An emulated machine copies slowly and runs Node slower.
#
#   port      frames (frames.ts)    to the host: out, echo; from it: credit, echo
#   stdin     from the agent        open ID STDOUT STDERR CREDIT FILE|-    finish ID    drop ID
#   stdout    to the agent          opened ID    kept ID    ended ID SENT KEPT    quiet ID SENT KEPT
#
# A command's streams are read no faster than the host gives credit. `finish`: its process is gone; answered by `quiet` when nothing has come
# for a while and writers are left. `drop`: from now on what comes is read and thrown away. `ended` is the last that is said of it: no
# writer is left and all was sent. Whatever cannot be is a defect and ends this process, and the agent with it.
use strict;
use warnings;
use Fcntl qw(O_RDONLY O_RDWR O_WRONLY O_CREAT O_EXCL O_NONBLOCK);

my ($port_path, $arch, $kept_after, $kept_file, $quiet_ms, $piece) = @ARGV;
my ($SPLICE, $TEE, $CLOCK) = $arch eq 'arm64' ? (76, 77, 113) : (275, 276, 228);
my ($SETPIPE_SIZE, $NONBLOCK) = (1031, 2);
# More than the usual 64 KiB: a writer that must wait less often is switched to and from less often.
my $pipe_size = 1 << 20;
# A read this large means that there is more.
my ($small, $large) = (1 << 16, 1 << 15);

$SIG{PIPE} = 'IGNORE';
sysopen(my $port, $port_path, O_RDWR) or die "$port_path: $!";
my $port_fd = fileno $port;
# What was taken off a command's pipe is safe from its processes in here.
my ($own_out, $own_in) = private_pipe();
my ($side_out, $side_in) = private_pipe();
my (%commands, %streams);
my ($from_agent, $from_host) = ('', '');

while (1) {
  my $ready = '';
  vec($ready, 0, 1) = 1;
  vec($ready, $port_fd, 1) = 1;
  for my $fd (keys %streams) {
    my $command = $streams{$fd}{command};
    vec($ready, $fd, 1) = 1 if $command->{dropping} or $command->{credit} > 0;
  }
  my $wait = undef;
  for my $command (values %commands) {
    next unless $command->{finishing};
    my $left = $command->{last} + $quiet_ms - now();
    $left = 0 if $left < 0;
    $wait = $left if !defined $wait or $left < $wait;
  }
  # A little late rather than a little early.
  select($ready, undef, undef, defined $wait ? $wait / 1000 + 0.002 : undef) >= 0 or next;
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
  syscall($CLOCK, 1, $time);
  my ($seconds, $nanoseconds) = unpack 'qq', $time;
  return $seconds * 1000 + $nanoseconds / 1e6;
}

sub private_pipe {
  pipe(my $out, my $in) or die "pipe: $!";
  fcntl($in, $SETPIPE_SIZE, $pipe_size) or die "pipe size: $!";
  return ($out, $in);
}

sub report {
  my ($line) = @_;
  write_all(\*STDOUT, "$line\n");
}

sub write_all {
  my ($to, $bytes) = @_;
  for (my $at = 0; $at < length $bytes;) {
    my $written = syswrite $to, $bytes, length($bytes) - $at, $at;
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
    file => $file eq '-' ? undef : $file, kept => undef, kept_bytes => 0, held => '',
  };
  for my $stream (['stdout', $stdout], ['stderr', $stderr]) {
    my ($name, $path) = @$stream;
    sysopen(my $pipe, $path, O_RDONLY | O_NONBLOCK) or die "$path: $!";
    $streams{fileno $pipe} = { command => $command, pipe => $pipe, header => qq({"t":"out","id":$id,"stream":"$name"}), large => 0 };
    $command->{left}++;
  }
  report("opened $id");
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
    my $waiting = pack 'i', 0;
    ioctl($stream->{pipe}, 0x541b, $waiting);
    if (unpack 'i', $waiting) { $command->{last} = now(); return }
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
  return if $command->{credit} <= 0;
  my $taken = $stream->{large} ? carry_pages($stream, $command) : carry_bytes($stream, $command);
  return if $taken < 0;
  return end_stream($stream) if $taken == 0;
  $command->{credit} -= $taken;
  $command->{sent} += $taken;
  $command->{last} = now();
}

# How much was carried, 0 at its end, -1 when there was nothing.
sub carry_bytes {
  my ($stream, $command) = @_;
  my $most = $command->{credit} < $small ? $command->{credit} : $small;
  my $read = sysread($stream->{pipe}, my $bytes, $most);
  return -1 unless defined $read;
  return 0 if $read == 0;
  keep($command, $bytes);
  write_all($port, frame($stream->{header}, $read) . $bytes);
  if ($read >= $large) {
    $stream->{large} = 1;
    fcntl($stream->{pipe}, $SETPIPE_SIZE, $pipe_size);
  }
  return $read;
}

sub carry_pages {
  my ($stream, $command) = @_;
  my $most = $command->{credit} < $piece ? $command->{credit} : $piece;
  my $taken = splice_some($stream->{pipe}, $own_in, $most);
  return $taken if $taken <= 0;
  keep_pages($command, $taken);
  write_all($port, frame($stream->{header}, $taken));
  for (my $left = $taken; $left > 0;) {
    my $gone = syscall $SPLICE, fileno $own_out, 0, $port_fd, 0, $left, 0;
    die "port: $!" if $gone < 0;
    select(undef, undef, undef, 0.1) if $gone == 0;
    $left -= $gone;
  }
  $stream->{large} = 0 if $taken < 4096;
  return $taken;
}

# As sysread answers: -1 when there is nothing now.
sub splice_some {
  my ($from, $to, $most) = @_;
  return syscall $SPLICE, fileno $from, 0, fileno $to, 0, $most, $NONBLOCK;
}

# Into the file, which begins when there is enough for one.
sub keep {
  my ($command, $bytes) = @_;
  return if !defined $command->{file};
  if (!$command->{kept}) {
    $command->{held} .= $bytes;
    begin_file($command) if length $command->{held} > $kept_after;
    return;
  }
  keep_written($command, $bytes);
}

sub keep_written {
  my ($command, $bytes) = @_;
  my $room = $kept_file - $command->{kept_bytes};
  # A full disk ends the file, not the command.
  my $written = syswrite $command->{kept}, substr $bytes, 0, $room;
  return end_file($command) if !defined $written;
  $command->{kept_bytes} += $written;
  end_full_file($command) if length $bytes > $room;
}

sub keep_pages {
  my ($command, $taken) = @_;
  return if !defined $command->{file};
  begin_file($command) if !$command->{kept};
  return if !defined $command->{file};
  my $room = $kept_file - $command->{kept_bytes};
  my $some = $taken < $room ? $taken : $room;
  my $left = syscall $TEE, fileno $own_out, fileno $side_in, $some, $NONBLOCK;
  die "tee: $!" if $left < $some;
  while ($left > 0) {
    my $gone = syscall $SPLICE, fileno $side_out, 0, fileno $command->{kept}, 0, $left, 0;
    if ($gone <= 0) {
      $left -= sysread($side_out, my $lost, $left) || die "side: $!" while $left > 0;
      return end_file($command);
    }
    $left -= $gone;
    $command->{kept_bytes} += $gone;
  }
  end_full_file($command) if $taken > $room;
}

sub begin_file {
  my ($command) = @_;
  my $held = $command->{held};
  $command->{held} = '';
  return end_file($command) if !sysopen($command->{kept}, $command->{file}, O_WRONLY | O_CREAT | O_EXCL, 0444);
  report("kept $command->{id}");
  keep_written($command, $held) if $held ne '';
}

sub end_full_file {
  my ($command) = @_;
  syswrite $command->{kept}, "\n[bulkhead: what follows the first $kept_file bytes is not kept]\n" if $command->{kept};
  end_file($command);
}

# Nothing more goes into it.
sub end_file {
  my ($command) = @_;
  close $command->{kept} if $command->{kept};
  $command->{kept} = undef;
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
