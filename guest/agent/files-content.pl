# What is in the files and folders of a connected folder, for `files-fuse.pl`.
use strict;
use warnings;

our ($good_for, $now, $FID, $INO);

my ($LOPEN, $LCREATE, $GETATTR, $READDIR, $FSYNC, $WALK, $READ, $WRITE) = (12, 14, 24, 40, 50, 110, 116, 118);
my ($access_mode, $exclusive, $truncate, $append) = (3, 0200, 01000, 02000);

# Bytes of a listing that are asked for at once.
my $listing = 1 << 16;

sub open_file {
  my ($channel, $request, $unique, $node) = @_;
  my $flags = unpack('x40 L', $$request) & ($access_mode | $truncate);
  changed($channel, $node->[$INO]) if $flags;
  my $fid = new_fid($channel);
  quietly($channel, $WALK, pack 'VVv', $node->[$FID], $fid, 0);
  ask($channel, $LOPEN, pack('VV', $fid, $flags), [\&opened, $unique, $node->[$INO], $fid, $channel->{changes}]);
}

sub opened {
  my ($channel, $asked, $error, $message) = @_;
  my (undef, $unique, $ino, $fid, $changes) = @$asked;
  if ($error) {
    clunk($channel, $fid);
    return fail($channel, $unique, $error);
  }
  my $attributes = behind($message, 0);
  if (defined $attributes and $changes == $channel->{changes}) {
    my $until = $good_for + $now;
    my $content = behind($message, unpack 'V', $$message);
    $channel->{attributes}{$ino} = [$until, $attributes];
    # Of one file at a time: it is read right after it was opened.
    $channel->{contents} = { $ino => [$until, substr $content, 11] } if defined $content;
  }
  reply($channel, $unique, pack 'QLL', $fid, $channel->{open_flags}, 0);
}

sub create_file {
  my ($channel, $request, $unique, $node) = @_;
  my ($flags, $mode) = unpack 'x40 LL', $$request;
  my $name = substr $$request, 56, -1;
  $flags &= $access_mode | $exclusive | $truncate;
  changed($channel, $node->[$INO]);
  my $key = $node->[$INO] . $name;
  delete $channel->{names}{$key};
  my $fid = new_fid($channel);
  quietly($channel, $WALK, pack 'VVv', $node->[$FID], $fid, 0);
  my $asked = [\&created, $unique, $node->[$INO], $key, $fid, $channel->{changes}];
  ask($channel, $LCREATE, pack('Vv/aVVV', $fid, $name, $flags, $mode & 07777, gid_in($$request)), $asked);
}

sub created {
  my ($channel, $asked, $error, $message) = @_;
  my (undef, $unique, $folder, $key, $file, $changes) = @$asked;
  if ($error) {
    clunk($channel, $file);
    return fail($channel, $unique, $error);
  }
  my $ino = substr $$message, 12, 8;
  # Somebody else may have made it in between.
  delete $channel->{attributes}{$ino};
  delete $channel->{contents}{$ino};
  $channel->{touched}{$ino} = $good_for + $now;
  my $opened = pack 'QLL', $file, $channel->{open_flags}, 0;
  my $fid = new_fid($channel);
  quietly($channel, $WALK, pack 'VVv', $file, $fid, 0);
  my $attributes = fresh(behind($message, 0) // die "no attributes");
  if ($changes == $channel->{changes}) {
    $channel->{names}{$key} = [$attributes->[0], $ino];
    $channel->{attributes}{$ino} = $attributes;
    my $of_folder = behind($message, unpack 'V', $$message);
    $channel->{attributes}{$folder} = [$attributes->[0], $of_folder] if defined $of_folder;
  }
  reply($channel, $unique, entry($channel, $ino, $fid, $attributes) . $opened);
}

sub read_file {
  my ($channel, $request, $unique, $node) = @_;
  my ($fid, $offset, $size) = unpack 'x40 QQL', $$request;
  my $known = $channel->{contents}{$node->[$INO]};
  if ($known and $known->[0] > $now) {
    return reply($channel, $unique, $offset < length $known->[1] ? substr $known->[1], $offset, $size : '');
  }
  ask($channel, $READ, pack('VQV', $fid, $offset, $size), [\&was_read, $unique]);
}

sub was_read {
  my ($channel, $asked, $error, $message) = @_;
  return fail($channel, $asked->[1], $error) if $error;
  to_kernel($channel, pack('LlQ', 5 + length $$message, 0, $asked->[1]) . substr $$message, 11);
}

sub write_file {
  my ($channel, $request, $unique, $node) = @_;
  my ($fid, $offset, $kind, $flags) = unpack 'x40 QQ x4 L x8 L', $$request;
  my $ino = $node->[$INO];
  return put($channel, $unique, $ino, $fid, $offset, substr $$request, 80) if !($flags & $append) or $kind & 1;
  # Behind what is there now: others write as well.
  my $data = substr $$request, 80;
  ask($channel, $GETATTR, pack('VQ', $fid, 0x7ff), [sub {
    my ($channel, undef, $error, $message) = @_;
    $error ? fail($channel, $unique, $error) : put($channel, $unique, $ino, $fid, unpack('x56 Q', $$message), $data);
  }]);
}

sub put {
  my ($channel, $unique, $ino, $fid, $offset) = @_;
  changed($channel, $ino);
  ask($channel, $WRITE, pack('VQV', $fid, $offset, length $_[5]) . $_[5], [\&written, $unique]);
}

sub written {
  my ($channel, $asked, $error, $message) = @_;
  $error ? fail($channel, $asked->[1], $error) : reply($channel, $asked->[1], pack 'LL', unpack('x7 V', $$message), 0);
}

sub release {
  my ($channel, $request, $unique) = @_;
  my $fid = unpack 'x40 Q', $$request;
  delete $channel->{listings}{$fid};
  clunk($channel, $fid);
  reply($channel, $unique, '');
}

sub sync_file {
  my ($channel, $request, $unique) = @_;
  my ($fid, $flags) = unpack 'x40 QL', $$request;
  ask($channel, $FSYNC, pack('VV', $fid, $flags & 1), [\&done, $unique]);
}

sub sync_folder {
  my ($channel, $request, $unique, $node) = @_;
  ask($channel, $FSYNC, pack('VV', $node->[$FID], 0), [\&done, $unique]);
}

# --- folders

# Whoever opens one reads it.
sub open_folder {
  my ($channel, undef, $unique, $node) = @_;
  my $fid = new_fid($channel);
  my $problem;
  quietly($channel, $WALK, pack 'VVv', $node->[$FID], $fid, 0);
  ask($channel, $LOPEN, pack('VV', $fid, 0), [sub { $problem = $_[2] }]);
  ask($channel, $READDIR, pack('VQV', $fid, 0, $listing), [sub {
    my ($channel, undef, $error, $message) = @_;
    if ($problem ||= $error) {
      clunk($channel, $fid);
      return fail($channel, $unique, $problem);
    }
    $channel->{listings}{$fid} = list($message);
    reply($channel, $unique, pack 'QLL', $fid, 0, 0);
  }]);
}

# `at`: what comes before the first of the entries; each with what comes before the next.
sub list {
  my ($message) = @_;
  my @entries;
  my $end = length $$message;
  for (my $at = 11; $at < $end; ) {
    my ($ino, $next, $type, $name) = unpack 'x' . ($at + 5) . 'QQCv/a', $$message;
    $at += 24 + length $name;
    push @entries, [$next, pack('QQLL', $ino, $next, length $name, $type) . $name . "\0" x (-length($name) & 7)];
  }
  return { at => 0, entries => \@entries };
}

sub read_folder {
  my ($channel, $request, $unique) = @_;
  my ($fid, $offset, $size) = unpack 'x40 QQL', $$request;
  my $listing_of = $channel->{listings}{$fid};
  return give($channel, $unique, $listing_of, $size) if $listing_of and $listing_of->{at} == $offset and @{$listing_of->{entries}};
  ask($channel, $READDIR, pack('VQV', $fid, $offset, $listing), [sub {
    my ($channel, undef, $error, $message) = @_;
    return fail($channel, $unique, $error) if $error;
    my $more = list($message);
    $channel->{listings}{$fid} = $more;
    $more->{at} = $offset;
    give($channel, $unique, $more, $size);
  }]);
}

sub give {
  my ($channel, $unique, $listing_of, $size) = @_;
  my ($entries, $bytes) = ($listing_of->{entries}, '');
  while (@$entries and length($bytes) + length($entries->[0][1]) <= $size) {
    my $entry = shift @$entries;
    $bytes .= $entry->[1];
    $listing_of->{at} = $entry->[0];
  }
  reply($channel, $unique, $bytes);
}

1;
