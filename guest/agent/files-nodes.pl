# Names and nodes of a connected folder, for `files-fuse.pl`: what they stand for, what is made and removed, what the kernel has forgotten.
use strict;
use warnings;

our ($good_for, $most_known, $now, $root, $FID, $INO, $LOOKUPS, $most_nodes);

my ($SYMLINK, $MKNOD, $GETATTR, $LINK, $MKDIR, $RENAMEAT, $UNLINKAT, $WALK) = (16, 18, 24, 70, 72, 74, 76, 110);
my ($EINVAL, $ESTALE) = (22, 116);
my $remove_folder = 0x200;

sub look_up {
  my ($channel, $request, $unique, $node) = @_;
  my $name = substr $$request, 40, -1;
  my $folder = $node->[$INO];
  my $key = $folder . $name;
  my $known = $channel->{names}{$key};
  $known = beside($channel, $folder, $name) if !$known or $known->[0] <= $now;
  if ($known) {
    my $ino = $known->[1];
    my $attributes = known_attributes($channel, $ino);
    if ($attributes) {
      my $fid;
      if (!exists $channel->{by_ino}{$ino}) {
        $fid = new_fid($channel);
        quietly($channel, $WALK, pack 'VVvv/a', $node->[$FID], $fid, 1, $name);
      }
      return reply($channel, $unique, entry($channel, $ino, $fid, $attributes));
    }
  }
  my $fid = new_fid($channel);
  ask($channel, $WALK, pack('VVvv/a', $node->[$FID], $fid, 1, $name), [\&looked_up, $unique, $folder, $key, $fid, $channel->{changes}]);
}

sub looked_up {
  my ($channel, $asked, $error, $message) = @_;
  my (undef, $unique, $folder, $key, $fid, $changes) = @$asked;
  if ($error) {
    push @{$channel->{free_fids}}, $fid;
    return fail($channel, $unique, $error);
  }
  my $ino = substr $$message, 14, 8;
  # Of one name: 22 bytes; then its attributes.
  my $answer = behind($message, 0) // die "no attributes";
  my $attributes = fresh($answer);
  if ($changes == $channel->{changes}) {
    forget_known($channel) if keys %{$channel->{names}} >= $most_known;
    $channel->{names}{$key} = [$attributes->[0], $ino];
    $channel->{attributes}{$ino} = $attributes;
    my $others = 22 + length $answer;
    $channel->{beside}{$folder} = [$attributes->[0], substr $$message, $others] if $others < length $$message;
  }
  reply($channel, $unique, entry($channel, $ino, $fid, $attributes));
}

# The answer that tells of a node, which is made if there is none. `fid`: one for it, or undef when it has one.
sub entry {
  my ($channel, $ino, $fid, $attributes) = @_;
  my $id = $channel->{by_ino}{$ino};
  if (defined $id) {
    my $node = $channel->{nodes}{$id};
    $node->[$LOOKUPS]++;
    if (defined $fid) {
      # The newer one: the number may have been given to another file.
      clunk($channel, $node->[$FID]) if $id != $root;
      $id == $root ? clunk($channel, $fid) : ($node->[$FID] = $fid);
    }
  } else {
    $id = $channel->{next_node}++;
    $channel->{nodes}{$id} = [$fid, $ino, 1];
    $channel->{by_ino}{$ino} = $id;
    shrink($channel) if keys %{$channel->{nodes}} > $channel->{shrinking};
  }
  tell_of($channel, $id, $attributes->[0]);
  my $good = nanoseconds($attributes->[0]);
  return pack('QQQQLL', $id, 0, 0, 0, $good, $good) . $attributes->[2];
}

# The kernel lets go of what nobody uses, here and elsewhere. By another process: it waits for nothing of ours.
sub shrink {
  my ($channel) = @_;
  $channel->{shrinking} = 2 * keys %{$channel->{nodes}};
  my $child = fork;
  return if !defined $child or $child;
  if (open my $caches, '>', '/proc/sys/vm/drop_caches') { syswrite $caches, '2' }
  POSIX::_exit(0);
}

sub forget_node {
  my ($channel, $request, undef, undef, $id) = @_;
  let_go($channel, $id, unpack 'x40 Q', $$request);
}

sub forget_nodes {
  my ($channel, $request) = @_;
  my $count = unpack 'x40 L', $$request;
  for my $index (0 .. $count - 1) { let_go($channel, unpack 'x' . (48 + 16 * $index) . 'QQ', $$request) }
}

sub let_go {
  my ($channel, $id, $lookups) = @_;
  my $node = $channel->{nodes}{$id} or return;
  $node->[$LOOKUPS] -= $lookups;
  return if $node->[$LOOKUPS] > 0 or $id == $root;
  clunk($channel, $node->[$FID]);
  delete $channel->{nodes}{$id};
  delete $channel->{by_ino}{$node->[$INO]};
  delete $channel->{told}{$id};
  $channel->{shrinking} = $most_nodes if keys %{$channel->{nodes}} < $most_nodes;
}

sub make_folder {
  my ($channel, $request, $unique, $node) = @_;
  my ($mode) = unpack 'x40 L', $$request;
  make_thing($channel, $request, $unique, $node, $MKDIR, substr($$request, 48, -1), pack 'VV', $mode & 07777, gid_in($$request));
}

sub make_node {
  my ($channel, $request, $unique, $node) = @_;
  my ($mode) = unpack 'x40 L', $$request;
  make_thing($channel, $request, $unique, $node, $MKNOD, substr($$request, 56, -1), pack 'VVVV', $mode, 0, 0, gid_in($$request));
}

sub make_link {
  my ($channel, $request, $unique, $node) = @_;
  my ($name, $target) = split /\0/, substr($$request, 40), -1;
  make_thing($channel, $request, $unique, $node, $SYMLINK, $name, pack 'v/aV', $target, gid_in($$request));
}

sub gid_in { return unpack 'x28 L', $_[0] }

# The thing is made and looked up.
sub make_thing {
  my ($channel, $request, $unique, $node, $type, $name, $rest) = @_;
  changed($channel, $node->[$INO]);
  delete $channel->{names}{$node->[$INO] . $name};
  my $problem;
  ask($channel, $type, pack('Vv/a', $node->[$FID], $name) . $rest, [sub { $problem = $_[2] }]);
  my $fid = new_fid($channel);
  ask($channel, $WALK, pack('VVvv/a', $node->[$FID], $fid, 1, $name), [sub {
    my ($channel, undef, $error, $message) = @_;
    if (!$problem) {
      my $asked = [undef, $unique, $node->[$INO], $node->[$INO] . $name, $fid, $channel->{changes}];
      return looked_up($channel, $asked, $error, $message);
    }
    $error ? push @{$channel->{free_fids}}, $fid : clunk($channel, $fid);
    fail($channel, $unique, $problem);
  }]);
}

sub link_name {
  my ($channel, $request, $unique, $node) = @_;
  my $old = $channel->{nodes}{unpack 'x40 Q', $$request} or return fail($channel, $unique, $ESTALE);
  my $name = substr $$request, 48, -1;
  forget_known($channel);
  my $problem;
  ask($channel, $LINK, pack('VVv/a', $node->[$FID], $old->[$FID], $name), [sub { $problem = $_[2] }]);
  ask($channel, $GETATTR, pack('VQ', $old->[$FID], 0x7ff), [sub {
    my ($channel, undef, $error, $message) = @_;
    return fail($channel, $unique, $problem || $error) if $problem || $error;
    reply($channel, $unique, entry($channel, $old->[$INO], undef, fresh($$message)));
  }]);
}

sub remove_name {
  my ($channel, $request, $unique, $node, $id, $op) = @_;
  my $name = substr $$request, 40, -1;
  my $folder = $op == 11;
  my $gone = $folder ? undef : delete $channel->{names}{$node->[$INO] . $name};
  if ($gone) {
    changed($channel, $node->[$INO]);
    changed($channel, $gone->[1]);
  } else { forget_known($channel) }
  my $ino = $node->[$INO];
  ask($channel, $UNLINKAT, pack('Vv/aV', $node->[$FID], $name, $folder ? $remove_folder : 0), [\&removed, $unique, $ino, $channel->{changes}]);
}

sub removed {
  my ($channel, $asked, $error, $message) = @_;
  my (undef, $unique, $ino, $changes) = @$asked;
  return fail($channel, $unique, $error) if $error;
  my $attributes = behind($message, 0);
  $channel->{attributes}{$ino} = [$good_for + $now, $attributes] if defined $attributes and $changes == $channel->{changes};
  reply($channel, $unique, '');
}

sub rename_plain {
  my ($channel, $request, $unique, $node) = @_;
  rename_names($channel, $unique, $node, unpack('x40 Q', $$request), substr $$request, 48);
}

sub rename_flagged {
  my ($channel, $request, $unique, $node) = @_;
  my ($to, $flags) = unpack 'x40 QL', $$request;
  # Neither exchanging nor leaving what is there: 9P has no word for it.
  return fail($channel, $unique, $EINVAL) if $flags;
  rename_names($channel, $unique, $node, $to, substr $$request, 56);
}

sub rename_names {
  my ($channel, $unique, $node, $to, $names) = @_;
  my ($old, $new) = split /\0/, $names, -1;
  my $folder = $channel->{nodes}{$to} or return fail($channel, $unique, $ESTALE);
  forget_known($channel);
  ask($channel, $RENAMEAT, pack('Vv/aVv/a', $node->[$FID], $old, $folder->[$FID], $new), [\&done, $unique]);
}

1;
