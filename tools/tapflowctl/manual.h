// SPDX-License-Identifier: BSD-3-Clause
// The prose of the manual page, as mdoc(7) has it; man.cpp puts the verbs between.
#pragma once

namespace tapflow::ctl {

constexpr const char *kManualDate = "November 22, 2026";

constexpr const char *kManualDescription = R"(.Nm
shows what a port of tapflow's DPDK driver (net_tap) does with packets, and why: which rule a packet meets, what is
hashed of it, and the queue that it comes to.
It reads this from the kernel, where the port's programs and tables are, and needs nothing of the process that has the
port.
So it works on any port, also while its process hangs, and on what is left of it after a crash.
.Pp
No verb changes anything in a port, but
.Cm gc ,
which removes what a dead process has left, after showing it.
.Pp
.Ar IFACE
is a port's tap, the name that its application knows it by
.Pq Dq net_tap0 ,
or its remote.
A port of the present network namespace comes before others of the same name.
.Pp
Every verb prints for eyes, or with
.Fl -json
one JSON document, which
.Pa tapflowctl.schema.json
describes; verbs that go on print one document on each line.
Names of members and their meaning stay the same; new ones may be added with a new version.
)";

constexpr const char *kManualPrivileges = R"(Ports are found by their programs, and their tables are read as BPF maps.
That needs CAP_SYS_ADMIN, and CAP_BPF to read them; looking at interfaces and filters needs CAP_NET_ADMIN.
Whoever lacks one is told so in one line.
.Pp
A port can be read by the version that has made it, or another one whose tables are the same.
Of any other port nothing but its version can be told, and
.Nm
says so.
)";

constexpr const char *kManualExitStatus = R"(.Bl -tag -width Ds
.It 0
Done, and nothing is wrong.
.It 1
Done, and something was found: a disagreement, a difference, something missing that matters, no such port.
.It 2
Not done: wrong arguments, missing privileges, a port of another version, trouble with a file.
.El
.Pp
Errors are one line on standard error, and then nothing is on standard output.
)";

constexpr const char *kManualEnvironment = R"(.Bl -tag -width NO_COLOR
.It Ev NO_COLOR
If it is set and not empty, nothing is emphasised on a terminal.
.El
)";

constexpr const char *kManualFiles = R"(.Bl -tag -width Ds
.It Pa share/doc/tapflow/tapflowctl.schema.json
Below the prefix: JSON Schema of what
.Fl -json
prints.
.It Pa share/doc/tapflow/user-guide.md
What ports are, and what they promise.
.El
)";

constexpr const char *kManualExamples = R"(Which ports there are, and everything about one:
.Bd -literal -offset indent
tapflowctl list
tapflowctl show tap0
.Ed
.Pp
The ten rules that most packets meet:
.Bd -literal -offset indent
tapflowctl rules tap0 \-\-sort hits | head \-n 11
.Ed
.Pp
What has changed since yesterday:
.Bd -literal -offset indent
tapflowctl save tap0 >today.json
diff yesterday.json today.json
.Ed
)";

constexpr const char *kManualSeeAlso = R"(.Xr dpdk-testpmd 1 ,
.Xr bpftool 8 ,
.Xr tc 8
)";

} // namespace tapflow::ctl
