/*
 * The least that a port-I/O exit costs on this host: a guest in real mode that does nothing but OUT, and a loop around KVM_RUN.
 * usage: exits COUNT; prints nanoseconds for each exit. Documentation/virt/kvm/api.rst has the interface.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

enum { MEMORY = 0x10000, CODE = 0x8000, WARM = 200 };

static void need(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static double nanoseconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char **argv)
{
	/* out 0x80, al; jmp to it */
	static const unsigned char code[] = { 0xE6, 0x80, 0xEB, 0xFC };
	long count = argc > 1 ? atol(argv[1]) : 1000, done = 0;
	unsigned long sum = 0;
	double start = 0;

	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	need(kvm >= 0, "/dev/kvm");
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	need(vm >= 0, "KVM_CREATE_VM");
	need(ioctl(vm, KVM_SET_TSS_ADDR, 0xFEFFD000ul) >= 0, "KVM_SET_TSS_ADDR");
	unsigned char *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need(memory != MAP_FAILED, "mmap");
	memcpy(memory + CODE, code, sizeof code);
	struct kvm_userspace_memory_region region = { .memory_size = MEMORY, .userspace_addr = (unsigned long)memory };
	need(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) >= 0, "KVM_SET_USER_MEMORY_REGION");
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	need(vcpu >= 0, "KVM_CREATE_VCPU");
	struct kvm_run *run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	need(run != MAP_FAILED, "mmap");
	struct kvm_sregs special;
	need(ioctl(vcpu, KVM_GET_SREGS, &special) >= 0, "KVM_GET_SREGS");
	special.cs.base = special.cs.selector = 0;
	need(ioctl(vcpu, KVM_SET_SREGS, &special) >= 0, "KVM_SET_SREGS");
	struct kvm_regs registers = { .rip = CODE, .rflags = 2 };
	need(ioctl(vcpu, KVM_SET_REGS, &registers) >= 0, "KVM_SET_REGS");

	while (done < count + WARM) {
		need(ioctl(vcpu, KVM_RUN, 0) >= 0, "KVM_RUN");
		if (run->exit_reason != KVM_EXIT_IO) {
			fprintf(stderr, "unexpected exit %u\n", run->exit_reason);
			return 1;
		}
		const unsigned char *data = (unsigned char *)run + run->io.data_offset;
		for (unsigned i = 0; i < run->io.count; i++)
			sum += data[i * run->io.size];
		if (++done == WARM)
			start = nanoseconds();
	}
	printf("%.1f\n", (nanoseconds() - start) / count);
	return sum == 1;
}
