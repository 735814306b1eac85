# The kernel's side of a connected folder: its FUSE requests (linux/fuse.h, 7.31 and later), answered by what the host says in 9P2000.L. Read by
# `files-pump.pl`, which carries the messages, with `files-known.pl`, `files-nodes.pl` and `files-content.pl`.
#
# A node is what the kernel has been told of and not yet forgotten; its fid stands for the thing itself, so names may change. Nothing of a file is kept by the
# kernel but what is mapped (`$DIRECT_IO`): what it kept of one that is open would not be what others have made of it. Names and attributes are good for a
# moment there, which `$good_for` bounds together with what is said again here.
use strict;
use warnings;

our ($good_for, $silent_tag, $message_size, $held, $now);

my ($LERROR, $STATFS, $READLINK, $GETATTR, $SETATTR, $VERSION, $ATTACH, $CLUNK) = (7, 8, 22, 24, 26, 100, 104, 120);
my ($EIO, $ENOSYS, $EPROTO, $ESTALE) = (5, 38, 71, 116);
my $no_fid = 0xffff_ffff;
# Reads in parallel; truncating while opening; writes of more than a page; mapped pages dropped when a file has changed; look-ups in parallel;
# rights that a write takes away are the host's business; requests of `$most_pages`; more flags.
my $features = 1 | 1 << 3 | 1 << 5 | 1 << 12 | 1 << 18 | 1 << 19 | 1 << 22 | 1 << 30;
# Shared mappings though nothing else is kept; Linux has that since 6.6. Where it has not, files must be mapped all the same: then it keeps pages, and asks
# whether they still hold as often as for attributes.
my ($DIRECT_IO, $more_features) = (1, 1 << 4);
my $most_pages = 63;
our $root = 1;
# Of a node.
our ($FID, $INO, $LOOKUPS) = (0, 1, 2);
# Nodes after which the kernel is asked to forget those that nobody uses: the host holds a fid of each, and bounds those of a connection.
our $most_nodes = 16_384;

# By number. FORGET and its like get no answer. What is not here the kernel does without: it does locks and modes itself, and there are no
# extended attributes.
my %requests = (
  1 => \&look_up, 2 => \&forget_node, 3 => \&get_attributes, 4 => \&set_attributes, 5 => \&read_link, 6 => \&make_link, 8 => \&make_node,
  9 => \&make_folder, 10 => \&remove_name, 11 => \&remove_name, 12 => \&rename_plain, 13 => \&link_name, 14 => \&open_file, 15 => \&read_file,
  16 => \&write_file, 17 => \&stat_fs, 18 => \&release, 20 => \&sync_file, 26 => \&begin, 27 => \&open_folder, 28 => \&read_folder,
  29 => \&release, 30 => \&sync_folder, 35 => \&create_file, 36 => \&ignore, 38 => \&ignore, 42 => \&forget_nodes, 45 => \&rename_flagged,
);

# Of these nobody asks for what a node is.
my %of_no_node = map { $_ => 1 } 2, 18, 26, 29, 36, 38, 42;

# What a channel has besides what carries it.
sub new_folder {
  return (
    nodes => {}, by_ino => {}, next_node => $root + 1, next_fid => 1, free_fids => [], next_tag => 0, free_tags => [], pending => {},
    listings => {}, told => {}, names => {}, attributes => {}, contents => {}, beside => {}, touched => {}, changes => 0, shrinking => $most_nodes, open_flags => 0,
  );
}

# Asks the host for the folder. `$done` gets an error number, or 0.
sub attach {
  my ($channel, $done) = @_;
  my $version = '9P2000.L';
  ask($channel, $VERSION, pack('Vv/a', $message_size, $version), [sub { }]);
  ask($channel, $ATTACH, pack('VVv/av/aV', 0, $no_fid, '', '', 0), [sub {
    my (undef, undef, $error, $message) = @_;
    return $done->($error) if $error;
    my $ino = substr $$message, 12, 8;
    $channel->{nodes}{$root} = [0, $ino, 1];
    $channel->{by_ino}{$ino} = $root;
    $done->(0);
  }]);
}

# One whole request.
sub kernel_asks {
  my ($channel, $request) = @_;
  my (undef, $op, $unique, $node) = unpack 'LLQQ', $$request;
  my $serve = $requests{$op};
  return fail($channel, $unique, $ENOSYS) if !$serve;
  my $known = $channel->{nodes}{$node};
  return fail($channel, $unique, $ESTALE) if !$known and !$of_no_node{$op};
  $serve->($channel, $request, $unique, $known, $node, $op);
}

# A message of the host's. Others may come along behind it.
sub host_says {
  my ($channel, $message) = @_;
  my ($type, $tag) = unpack 'x4 Cv', $$message;
  my $asked = delete $channel->{pending}{$tag} or return;
  push @{$channel->{free_tags}}, $tag;
  my $error = $type == $LERROR ? unpack('x7 V', $$message) || $EIO : 0;
  # It is somewhere else now: the kernel looks again.
  forget_known($channel) if $error == $ESTALE;
  $asked->[0]->($channel, $asked, $error, $message);
}

# What came along with a message, or behind another that did; undef when nothing did.
sub behind {
  my ($message, $at) = @_;
  my $size = unpack 'x' . $at . 'V', $$message;
  my $next = $at + $size;
  return undef if $next >= length $$message;
  my $more = unpack 'x' . $next . 'V', $$message;
  die "nothing behind" if $more < 7 or $next + $more > length $$message;
  return substr $$message, $next, $more;
}

# The host is asked, after all that gets no answer. `$asked`: who takes the answer (channel, this, error, message), whose request it is.
sub ask {
  my ($channel, $type, $body, $asked) = @_;
  my $tag = pop @{$channel->{free_tags}} // $channel->{next_tag}++;
  $channel->{pending}{$tag} = $asked;
  to_host_later($held . pack('N', $channel->{overhead} + 7 + length $body) . $channel->{start} . pack('VCv', 7 + length $body, $type, $tag) . $body);
  $held = '';
}

# Told with what the host is asked next: it cannot fail, or what follows tells.
sub quietly {
  my ($channel, $type, $body) = @_;
  $held .= pack('N', $channel->{overhead} + 7 + length $body) . $channel->{start} . pack('VCv', 7 + length $body, $type, $silent_tag) . $body;
}

sub new_fid {
  my ($channel) = @_;
  return pop @{$channel->{free_fids}} // $channel->{next_fid}++;
}

sub clunk {
  my ($channel, $fid) = @_;
  quietly($channel, $CLUNK, pack 'V', $fid);
  push @{$channel->{free_fids}}, $fid;
}

sub reply {
  my ($channel, $unique, $data) = @_;
  to_kernel($channel, pack('LlQ', 16 + length $data, 0, $unique) . $data);
}

sub fail {
  my ($channel, $unique, $error) = @_;
  to_kernel($channel, pack 'LlQ', 16, -$error, $unique);
}

sub done {
  my ($channel, $asked, $error) = @_;
  $error ? fail($channel, $asked->[1], $error) : reply($channel, $asked->[1], '');
}

# --- attributes

sub get_attributes {
  my ($channel, $request, $unique, $node, $id) = @_;
  my $known = known_attributes($channel, $node->[$INO]);
  return tell_attributes($channel, $unique, $id, $known) if $known;
  ask($channel, $GETATTR, pack('VQ', $node->[$FID], 0x7ff), [\&got_attributes, $unique, $id, $node->[$INO], $channel->{changes}]);
}

sub got_attributes {
  my ($channel, $asked, $error, $message) = @_;
  my (undef, $unique, $id, $ino, $changes) = @$asked;
  return fail($channel, $unique, $error) if $error;
  my $attributes = fresh($$message);
  $channel->{attributes}{$ino} = $attributes if $changes == $channel->{changes};
  tell_attributes($channel, $unique, $id, $attributes);
}

sub tell_attributes {
  my ($channel, $unique, $id, $attributes) = @_;
  tell_of($channel, $id, $attributes->[0]);
  reply($channel, $unique, pack('QLL', 0, nanoseconds($attributes->[0]), 0) . $attributes->[2]);
}

sub set_attributes {
  my ($channel, $request, $unique, $node, $id) = @_;
  my ($valid, $fh, $size, $as, $ms, $an, $mn, $mode, $uid, $gid) = unpack 'x40 L x4 QQ x8 QQ x8 LL x4 L x4 LL', $$request;
  # As FUSE has them: mode, uid, gid, size are the same; a time that is given; one that is now.
  my $wanted = $valid & 15;
  $wanted |= 0x10 if $valid & (0x10 | 0x80);
  $wanted |= 0x20 if $valid & (0x20 | 0x100);
  $wanted |= 0x80 if ($valid & 0x90) == 0x10;
  $wanted |= 0x100 if ($valid & 0x120) == 0x20;
  changed($channel, $node->[$INO]);
  my $fid = $valid & 0x40 ? $fh : $node->[$FID];
  my $problem;
  ask($channel, $SETATTR, pack('V5 Q5', $fid, $wanted, $mode & 07777, $uid, $gid, $size, $as, $an, $ms, $mn), [sub { $problem = $_[2] }]);
  my ($ino, $changes) = ($node->[$INO], $channel->{changes});
  ask($channel, $GETATTR, pack('VQ', $node->[$FID], 0x7ff), [sub {
    my ($channel, undef, $error, $message) = @_;
    return fail($channel, $unique, $problem) if $problem;
    got_attributes($channel, [undef, $unique, $id, $ino, $changes], $error, $message);
  }]);
}

sub read_link {
  my ($channel, undef, $unique, $node) = @_;
  ask($channel, $READLINK, pack('V', $node->[$FID]), [sub {
    my ($channel, undef, $error, $message) = @_;
    $error ? fail($channel, $unique, $error) : reply($channel, $unique, unpack 'x7 v/a', $$message);
  }]);
}

sub stat_fs {
  my ($channel, undef, $unique, $node) = @_;
  ask($channel, $STATFS, pack('V', $node->[$FID]), [sub {
    my ($channel, undef, $error, $message) = @_;
    return fail($channel, $unique, $error) if $error;
    my ($block, $blocks, $free, $available, $files, $left, $name) = unpack 'x11 V Q Q Q Q Q x8 V', $$message;
    reply($channel, $unique, pack 'Q5 L4 x24', $blocks, $free, $available, $files, $left, $block, $name, $block, 0);
  }]);
}

# --- the connection

sub begin {
  my ($channel, $request, $unique) = @_;
  my ($major, $minor, $ahead, $flags, $more) = unpack 'x40 L5', $$request;
  return fail($channel, $unique, $EPROTO) if $major != 7 or $minor < 31;
  $channel->{open_flags} = $minor >= 36 && $more & $more_features ? $DIRECT_IO : 0;
  my $write = $most_pages * 4096;
  my @bounds = (64, 48, $write, 1, $most_pages, 0);
  reply($channel, $unique, pack 'L4 S2 L2 S2 L x28', 7, $minor < 36 ? $minor : 36, $ahead, $features & $flags, @bounds, $more_features);
}

sub ignore { }

1;
