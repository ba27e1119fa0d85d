/** The Manager's entry: Hyper-V Manager and VMConnect as a page. */
import './styles/tokens.css';
import './styles/base.css';
import './styles/shell.css';
import './styles/parts.css';
import './styles/table.css';
import './styles/vms.css';
import './styles/vm.css';
import { createRoot } from 'react-dom/client';
import { App } from './shell/app.tsx';
import { restoreTheme } from './shell/theme.ts';
import { begin } from './store/live.ts';

restoreTheme();
createRoot(document.getElementById('root')!).render(<App />);
void begin();
