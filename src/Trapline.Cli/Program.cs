using Trapline.Cli;

return CommandLine.Run(args);
