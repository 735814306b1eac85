# What the host has just said of a connected folder, for `files-fuse.pl`: names, attributes, contents, for `$good_for` seconds. What a change through the folder
# touches is forgotten before the change is passed on.
use strict;
use warnings;

our ($good_for, $most_known, $now);

my $READDIR = 40;

# The kernel's, of the host's answer to getattr.
sub attributes_in {
  my ($ino, $mode, $uid, $gid, $links, $size, $block, $blocks, $as, $an, $ms, $mn, $cs, $cn) = unpack 'x20 Q V V V Q x8 Q Q Q Q Q Q Q Q Q', $_[0];
  return pack 'Q6 L10', $ino, $size, $blocks, $as, $ms, $cs, $an, $mn, $cn, $mode, $links, $uid, $gid, 0, $block, 0;
}

# As they are known, of the host's answer that has just come: until when, that answer, the kernel's.
sub fresh {
  my ($answer) = @_;
  return [$good_for + $now, $answer, attributes_in($answer)];
}

# The same, of what was said before. undef when it is not, or not any more.
sub known_attributes {
  my ($channel, $ino) = @_;
  my $known = $channel->{attributes}{$ino} or return undef;
  return undef if $known->[0] <= $now;
  $known->[2] //= attributes_in($known->[1]);
  return $known;
}

sub nanoseconds {
  my ($until) = @_;
  my $left = $until - $now;
  return $left <= 0 ? 0 : int($left * 1e9);
}

# Something changes a file's or folder's attributes or content. What the host was asked before is not kept when it is answered.
sub changed {
  my ($channel, $ino) = @_;
  $channel->{changes}++;
  delete $channel->{attributes}{$ino};
  delete $channel->{contents}{$ino};
  # What came along before says otherwise.
  ($channel->{beside}, $channel->{touched}) = ({}, {}) if keys %{$channel->{touched}} >= $most_known;
  $channel->{touched}{$ino} = $good_for + $now;
}

sub forget_known {
  my ($channel) = @_;
  $channel->{changes}++;
  ($channel->{names}, $channel->{attributes}, $channel->{contents}, $channel->{beside}) = ({}, {}, {}, {});
  $channel->{touched} = {};
}

# So does the kernel: whatever it asks then, the host says. Attributes alone: names lead to nothing without them, and pages could be waited for.
sub forget_all {
  my ($channel) = @_;
  forget_known($channel);
  for my $id (keys %{$channel->{told}}) {
    to_kernel($channel, pack 'LlQQqq', 40, 2, 0, $id, -1, 0) if $channel->{told}{$id} > $now;
  }
  $channel->{told} = {};
}

sub tell_of {
  my ($channel, $id, $until) = @_;
  if (keys %{$channel->{told}} >= $most_known) {
    for my $other (keys %{$channel->{told}}) { delete $channel->{told}{$other} if $channel->{told}{$other} <= $now }
  }
  $channel->{told}{$id} = $until;
}

# Files beside one that was looked up, each as a listing of itself and its attributes; taken apart only when one is asked for. No name has a zero in it,
# and every size has, so what looks like a listing is one.
sub beside {
  my ($channel, $folder, $name) = @_;
  my $others = $channel->{beside}{$folder} or return undef;
  return undef if $others->[0] <= $now;
  my $entry = pack 'v/a', $name;
  my $at = index $others->[1], $entry;
  return undef if $at < 33;
  my ($size, $type) = unpack 'x' . ($at - 33) . 'VC', $others->[1];
  return undef if $type != $READDIR + 1 or $size != 33 + length $entry;
  my $ino = substr $others->[1], $at - 17, 8;
  return undef if ($channel->{touched}{$ino} // 0) > $now;
  my $attributes = substr $others->[1], $at + length $entry, unpack 'x' . ($at + length $entry) . 'V', $others->[1];
  $channel->{attributes}{$ino} = [$others->[0], $attributes];
  return $channel->{names}{$folder . $name} = [$others->[0], $ino];
}

1;
